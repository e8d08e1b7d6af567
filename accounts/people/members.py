"""What happens to members: another role, leaving, being removed, handing a publisher on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts import audit
from accounts.audit import Actor
from accounts.models import Membership, Publisher, Role, User
from accounts.people.inviting import withdraw_all_of
from accounts.people.joining import part
from accounts.people.standing import current, keep_an_owner, lock, require_owner
from accounts.people.telling import tell
from core.errors import ConflictError, ForbiddenError, NotFoundError, invalid_field


@transaction.atomic
def change_member(
    membership: Membership, *, role: Role, limits: Mapping[str, Any] | None = None, by: User, actor: Actor
) -> Membership:
    """Store a member's role, and whether they are limited; return the membership as it is then.

    With `limits`, which the audit log shows, they are: the caller stores what they reach, in the same transaction.
    Raises ForbiddenError, NotFoundError, InvalidError, ConflictError `last_owner`.
    """
    publisher = lock(membership.publisher)
    require_owner(by, publisher)
    before = current(membership, publisher)
    limited = limits is not None
    if role not in Role.values:
        raise invalid_field("/role", "unknown_role", f"Choose from {', '.join(Role.values)}.")
    if limited and role == Role.OWNER:
        raise invalid_field("/role", "owner_unlimited", "Owners are for all newsletters.")
    if role != Role.OWNER:
        keep_an_owner(before)
    if (before.role, before.limited, limited) == (role, False, False):
        return before
    _become(before, role, limited=limited)
    if before.role == Role.OWNER:
        withdraw_all_of(before.user, publisher, actor=actor)
    after = current(membership, publisher)
    changes = {"from": before.role, "to": role}
    _record("member.changed", after, actor, **changes, limited=limited, **(limits or {}))
    # To somebody who is no owner any more as well: `about` is told whatever they are.
    tell("role_changed", publisher, actor=actor, about=after.user, role=role, limited=limited)
    return after


@transaction.atomic
def leave(publisher: Publisher, *, by: User, actor: Actor) -> None:
    """End somebody's own membership. Raises NotFoundError `not_a_member`, ConflictError `last_owner`."""
    publisher = lock(publisher)
    membership = _own(publisher, by)
    keep_an_owner(membership)
    _record("member.left", membership, actor, role=membership.role)
    part(membership)
    tell("member_left", publisher, actor=actor, about=by)


@transaction.atomic
def remove(membership: Membership, *, by: User, actor: Actor) -> None:
    """End somebody else's membership; their open invitations end with it, keys they made stay.

    Raises ForbiddenError, NotFoundError `not_a_member`, ConflictError `last_owner`.
    """
    publisher = lock(membership.publisher)
    require_owner(by, publisher)
    gone = current(membership, publisher)
    keep_an_owner(gone)
    withdraw_all_of(gone.user, publisher, actor=actor)
    _record("member.removed", gone, actor, role=gone.role)
    part(gone)
    tell("member_removed", publisher, actor=actor, about=gone.user)


@transaction.atomic
def transfer_ownership(membership: Membership, *, by: User, actor: Actor) -> None:
    """Make another member an owner and who asks an editor.

    Raises ForbiddenError `owners_only` for who is not an owner by membership, NotFoundError `not_a_member`,
    ConflictError `already_owner` or `inactive_member`.
    """
    publisher = lock(membership.publisher)
    giver, taker = _own(publisher, by), current(membership, publisher)
    if giver.role != Role.OWNER:
        raise ForbiddenError("owners_only", "Only owners of the publisher may do this.")
    if taker.role == Role.OWNER:
        raise ConflictError("already_owner", f"{taker.user.email} is an owner already.")
    if not taker.user.is_active:
        raise ConflictError("inactive_member", f"{taker.user.email} cannot log in any more.")
    _become(taker, Role.OWNER, limited=False)
    _become(giver, Role.EDITOR, limited=False)
    _record("ownership.transferred", taker, actor, giver=giver.user.email)
    # Who has given it away is no owner any more, and is told all the same.
    tell("ownership_transferred", publisher, actor=actor, about=taker.user, also=[giver.user])


def _own(publisher: Publisher, user: User) -> Membership:
    active = Membership.objects.select_related("user").filter(user__is_active=True)
    found = active.filter(publisher=publisher, user=user).first()
    if found is None:
        raise NotFoundError("not_a_member", "You are not a member of this publisher.")
    return found


def _become(membership: Membership, role: Role, *, limited: bool) -> None:
    known = Membership.objects.filter(pk=membership.pk, role=membership.role, limited=membership.limited)
    # The publisher's lock is held: nothing else can have changed it.
    assert known.update(role=role, limited=limited) == 1


def _record(action: str, membership: Membership, actor: Actor, **detail: Any) -> None:
    audit.record(
        action,
        actor=actor,
        publisher_id=membership.publisher_id,
        object_type="member",
        object_id=membership.uid,
        detail={"person": membership.user.email, **detail},
    )
