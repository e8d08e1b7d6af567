"""Members and invitations that are limited to some of their publisher's newsletters.

Each verb is that of `accounts.people` with the newsletters added in the same transaction; None stands for all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from accounts.audit import Actor
from accounts.models import Invitation, Membership, Publisher, Role, User
from accounts.people import accepting, inviting, members
from core.errors import invalid_field
from newsletters.models import InvitationLimit, MemberLimit, Newsletter


@transaction.atomic
def invite(
    publisher: Publisher,
    *,
    address: str,
    role: Role,
    newsletters: Collection[Newsletter] | None = None,
    by: User,
    actor: Actor,
) -> Invitation:
    """Do what `accounts.people.inviting.invite` does. Raises InvalidError `unknown_newsletter` besides."""
    limits = limits_to(publisher, newsletters)
    invitation = inviting.invite(publisher, address=address, role=role, limits=limits, by=by, actor=actor)
    InvitationLimit.objects.bulk_create(
        InvitationLimit(invitation=invitation, newsletter=one) for one in set(newsletters or ())
    )
    return invitation


@transaction.atomic
def accept(invitation: Invitation, *, by: User, actor: Actor) -> Membership:
    """Do what `accounts.people.accepting.accept` does."""
    membership = accepting.accept(invitation, by=by, actor=actor)
    chosen = InvitationLimit.objects.filter(invitation=invitation, newsletter__deleted_at__isnull=True)
    if membership.limited:
        MemberLimit.objects.bulk_create(
            MemberLimit(membership=membership, newsletter_id=one)
            for one in chosen.values_list("newsletter_id", flat=True)
        )
    return membership


@transaction.atomic
def change_member(
    membership: Membership,
    *,
    role: Role,
    newsletters: Collection[Newsletter] | None = None,
    by: User,
    actor: Actor,
) -> Membership:
    """Do what `accounts.people.members.change_member` does. Raises InvalidError `unknown_newsletter` besides."""
    limits = limits_to(membership.publisher, newsletters)
    changed = members.change_member(membership, role=role, limits=limits, by=by, actor=actor)
    MemberLimit.objects.filter(membership=changed).delete()
    MemberLimit.objects.bulk_create(MemberLimit(membership=changed, newsletter=one) for one in set(newsletters or ()))
    return changed


def limits_to(publisher: Publisher, newsletters: Collection[Newsletter] | None) -> dict[str, Any] | None:
    """Return what the audit log says of these, None for all. Raises InvalidError `unknown_newsletter`."""
    if newsletters is None:
        return None
    if not newsletters or any(one.publisher_id != publisher.pk or one.deleted_at for one in newsletters):
        raise invalid_field("/newsletters", "unknown_newsletter", "Choose from the newsletters of the publisher.")
    return {"newsletters": sorted({one.uid for one in newsletters})}
