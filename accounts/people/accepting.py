"""Somebody accepts an invitation: only who has its address, and of several at once one."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models.functions import Now

from accounts import audit
from accounts.audit import Actor
from accounts.models import Invitation, Membership, Role, User
from accounts.people.joining import join
from accounts.people.standing import lock
from accounts.people.telling import tell
from core.database import database_now
from core.errors import ConflictError, ForbiddenError, GoneError


def require_open(invitation: Invitation) -> None:
    """Raise ConflictError `invitation_accepted`, GoneError `invitation_withdrawn` or `invitation_expired`."""
    if invitation.accepted_at is not None:
        raise ConflictError("invitation_accepted", "This invitation was accepted already.")
    if invitation.withdrawn_at is not None:
        raise GoneError("invitation_withdrawn", "This invitation was withdrawn.")
    if invitation.expires_at <= database_now():
        raise GoneError("invitation_expired", "This invitation is more than seven days old. Ask for a new one.")


def is_meant_for(invitation: Invitation, user: User) -> bool:
    """Say whether somebody has shown that the invited address is theirs."""
    verified = EmailAddress.objects.filter(user=user, verified=True)
    return bool(verified.filter(email__iexact=invitation.address).exists())


@transaction.atomic
def accept(invitation: Invitation, *, by: User, actor: Actor) -> Membership:
    """Make a member of whom the invitation is for.

    Of a limited one the caller stores what the member reaches, in the same transaction. Raises ForbiddenError
    `other_address`, ConflictError `already_member`, and what `require_open` does.
    """
    publisher = lock(invitation.publisher)
    # Whoever is made inactive meanwhile joins nothing.
    if not User.objects.filter(pk=by.pk, is_active=True).exists() or not is_meant_for(invitation, by):
        raise ForbiddenError("other_address", f"This invitation is for {invitation.address}.")
    still_open = Invitation.objects.filter(
        pk=invitation.pk, accepted_at__isnull=True, withdrawn_at__isnull=True, expires_at__gt=Now()
    )
    # Who comes second finds nothing open, and is told why.
    if not still_open.update(accepted_at=Now(), accepted_by=by):
        require_open(Invitation.objects.get(pk=invitation.pk))
        raise ConflictError("invitation_accepted", "This invitation was accepted already.")
    invitation.refresh_from_db()
    membership = join(publisher, by, role=Role(invitation.role), limited=invitation.limited)
    audit.record(
        "invitation.accepted",
        actor=actor,
        publisher_id=publisher.pk,
        object_type="invitation",
        object_id=invitation.uid,
        detail={"person": by.email, "role": membership.role, "limited": membership.limited},
    )
    tell("invitation_accepted", publisher, actor=actor, about=by, role=membership.role)
    return membership
