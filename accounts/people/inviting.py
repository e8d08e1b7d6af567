"""Owners invite people by their addresses, remind them, and take it back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from accounts import audit
from accounts.audit import Actor
from accounts.mailing import queue
from accounts.models import AccountMail, AccountMailKind, Invitation, Membership, Publisher, Role, User
from accounts.people.standing import lock, require_owner
from core.addresses import canonical
from core.errors import ConflictError, TooManyRequestsError, invalid_field

VALID_FOR = timedelta(days=7)
# A mail each: more would make us a tool for mailing strangers.
MOST_A_DAY = 100
# A day from one publisher or person, or they could invite, withdraw and invite again without end.
MOST_TO_AN_ADDRESS = 5
# A day from all together, who are ten at least: fewer cannot keep the others' invitations away.
MOST_TO_AN_ADDRESS_BY_ALL = 50
RESEND_AFTER = timedelta(minutes=10)


@transaction.atomic
def invite(
    publisher: Publisher,
    *,
    address: str,
    role: Role,
    limits: Mapping[str, Any] | None = None,
    by: User,
    actor: Actor,
) -> Invitation:
    """Store an invitation for seven days and queue its mail.

    With `limits`, which the audit log shows, it is a limited one: the caller stores what it reaches, in the same
    transaction. Raises ForbiddenError, NotFoundError, InvalidError for an address and ConflictError
    `already_member` or `already_invited`, TooManyRequestsError `too_many_invitations`.
    """
    publisher = lock(publisher)
    require_owner(by, publisher)
    address = _checked(address, role=role, limited=limits is not None)
    if Membership.objects.filter(publisher=publisher, user__email__iexact=address).exists():
        raise ConflictError("already_member", f"{address} is a member of {publisher} already.")
    # What nobody can accept any more makes room.
    open_ones = open_invitations(publisher)
    open_ones.filter(expires_at__lte=Now()).update(withdrawn_at=Now())
    if open_ones.filter(address__iexact=address).exists():
        raise ConflictError("already_invited", f"{address} is invited already: resend or withdraw that invitation.")
    if Invitation.objects.filter(publisher=publisher, created_at__gt=Now() - timedelta(days=1)).count() >= MOST_A_DAY:
        raise TooManyRequestsError("too_many_invitations", f"At most {MOST_A_DAY} people are invited a day.")
    invitation = Invitation.objects.create(
        publisher=publisher,
        address=address,
        role=role,
        limited=limits is not None,
        invited_by=by,
        expires_at=Now() + VALID_FOR,
    )
    invitation.refresh_from_db()
    _record("invitation.created", invitation, actor, address=address, role=role, **(limits or {}))
    _mail(invitation, by)
    return invitation


@transaction.atomic
def resend(invitation: Invitation, *, by: User, actor: Actor) -> None:
    """Give an invitation seven more days and mail it again.

    Raises ForbiddenError, NotFoundError, ConflictError `invitation_closed`, TooManyRequestsError `resent_just_now`
    or `too_many_invitations`.
    """
    require_owner(by, lock(invitation.publisher))
    # It was mailed when its days were last counted.
    mailed_before = Now() - RESEND_AFTER + VALID_FOR
    if not _open(invitation).filter(expires_at__lt=mailed_before).update(expires_at=Now() + VALID_FOR):
        if _open(invitation).exists():
            raise TooManyRequestsError("resent_just_now", "It was mailed less than ten minutes ago.")
        raise ConflictError("invitation_closed", "This invitation was accepted or withdrawn.")
    _record("invitation.resent", invitation, actor, address=invitation.address)
    _mail(invitation, by)


@transaction.atomic
def withdraw(invitation: Invitation, *, by: User, actor: Actor) -> None:
    """Make an invitation worthless. Raises ForbiddenError, NotFoundError, ConflictError when it was accepted."""
    require_owner(by, lock(invitation.publisher))
    if _open(invitation).update(withdrawn_at=Now()):
        _record("invitation.withdrawn", invitation, actor, address=invitation.address)
    elif not Invitation.objects.filter(pk=invitation.pk, withdrawn_at__isnull=False).exists():
        raise ConflictError("invitation_closed", "This invitation was accepted.")


def withdraw_all_of(user: User, publisher: Publisher, *, actor: Actor) -> None:
    """Withdraw what somebody offered who is no owner any more, or they could come back by it."""
    for invitation in open_invitations(publisher).filter(invited_by=user):
        if _open(invitation).update(withdrawn_at=Now()):
            _record("invitation.withdrawn", invitation, actor, address=invitation.address)


def open_invitations(publisher: Publisher) -> Any:
    """Return those neither accepted nor withdrawn, also those that are too old."""
    return Invitation.objects.filter(publisher=publisher, accepted_at__isnull=True, withdrawn_at__isnull=True)


def _open(invitation: Invitation) -> Any:
    return open_invitations(invitation.publisher).filter(pk=invitation.pk)


def _checked(address: str, *, role: Role, limited: bool) -> str:
    """Return the address as accounts have it."""
    if role not in Role.values:
        raise invalid_field("/role", "unknown_role", f"Choose from {', '.join(Role.values)}.")
    if limited and role == Role.OWNER:
        raise invalid_field("/role", "owner_unlimited", "Owners are for all newsletters.")
    return canonical(address).key


def _mail(invitation: Invitation, by: User) -> None:
    mailed = AccountMail.objects.filter(kind=AccountMailKind.INVITATION, to_address=invitation.address)
    mailed = mailed.filter(created_at__gt=Now() - timedelta(days=1))
    ours = mailed.filter(Q(invitation__publisher=invitation.publisher_id) | Q(invitation__invited_by=by))
    if ours.count() >= MOST_TO_AN_ADDRESS or mailed.count() >= MOST_TO_AN_ADDRESS_BY_ALL:
        detail = f"{invitation.address} was sent as many invitations as we mail within a day. Try again tomorrow."
        raise TooManyRequestsError("too_many_invitations", detail)
    queue(AccountMailKind.INVITATION, to=invitation.address, invitation=invitation)


def _record(action: str, invitation: Invitation, actor: Actor, **detail: Any) -> None:
    audit.record(
        action,
        actor=actor,
        publisher_id=invitation.publisher_id,
        object_type="invitation",
        object_id=invitation.uid,
        detail=detail,
    )
