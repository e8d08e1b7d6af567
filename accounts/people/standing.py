"""Who is what in a publisher. Every journey of its people begins by locking its row, so that they come one by one."""

from __future__ import annotations

from django.db import connection
from django.db.models import QuerySet

from accounts.models import Membership, Publisher, Role, User
from core.errors import ConflictError, ForbiddenError, NotFoundError


def lock(publisher: Publisher) -> Publisher:
    """Return the publisher, whose people no other transaction changes until this one ends; raises NotFoundError."""
    assert connection.in_atomic_block
    # SQLite's transactions come one by one anyhow (IMMEDIATE). Rows that only refer to a publisher need not wait.
    found = Publisher.objects.select_for_update(no_key=True).filter(pk=publisher.pk).first()
    if found is None:
        raise NotFoundError("publisher_not_found", "There is no such publisher any more.")
    return found


def role_of(user: User, publisher: Publisher) -> Role | None:
    """Return what somebody is in a publisher; superusers are owners everywhere, inactive people nothing."""
    person = User.objects.filter(pk=user.pk, is_active=True).first()
    if person is None:
        return None
    if person.is_superuser:
        return Role.OWNER
    found = Membership.objects.filter(publisher=publisher, user=person).values_list("role", flat=True).first()
    return None if found is None else Role(found)


def require_owner(user: User, publisher: Publisher) -> None:
    """Raise NotFoundError for somebody who is nothing in the publisher, ForbiddenError for less than an owner."""
    role = role_of(user, publisher)
    if role is None:
        raise NotFoundError("publisher_not_found", "There is no such publisher.")
    if role != Role.OWNER:
        raise ForbiddenError("owners_only", "Only owners of the publisher may do this.")


def current(membership: Membership, publisher: Publisher) -> Membership:
    """Return a membership of the locked publisher as it is now. Raises NotFoundError when it ended."""
    found = Membership.objects.select_related("user").filter(pk=membership.pk, publisher=publisher).first()
    if found is None:
        raise NotFoundError("not_a_member", "This person is not a member any more.")
    return found


def keep_an_owner(membership: Membership) -> None:
    """Raise ConflictError `last_owner` when the locked publisher has no active owner beside this member."""
    if membership.role == Role.OWNER and not _other_owners(membership).exists():
        raise ConflictError("last_owner", "A publisher has at least one active owner: make somebody else one first.")


def keep_owners_without(user: User) -> None:
    """Lock somebody who is to be made inactive, and what they belong to, until this transaction ends.

    Raises ConflictError `last_owner`, naming the publishers that would have no active owner, `changed_meanwhile` when
    they joined another one at this moment.
    """
    known = Membership.objects.filter(user=user).order_by("publisher_id")
    locked = [lock(one.publisher) for one in known.select_related("publisher")]
    # After the publishers, as everywhere. Whoever joins one locks the person too.
    list(User.objects.select_for_update(no_key=True).filter(pk=user.pk).values_list("pk"))
    memberships = list(known.select_related("publisher"))
    if [one.publisher_id for one in memberships] != [publisher.pk for publisher in locked]:
        raise ConflictError("changed_meanwhile", "They joined a publisher at this moment: look again.")
    left = [str(one.publisher) for one in memberships if one.role == Role.OWNER and not _other_owners(one).exists()]
    if left:
        named = ", ".join(left)
        raise ConflictError("last_owner", f"They are the last active owner of {named}: make somebody else one first.")


def _other_owners(membership: Membership) -> QuerySet[Membership]:
    active = Membership.objects.filter(publisher_id=membership.publisher_id, role=Role.OWNER, user__is_active=True)
    return active.exclude(pk=membership.pk)
