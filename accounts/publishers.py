"""Making a publisher, with its first owner where there is one."""

from __future__ import annotations

from django.db import transaction

from accounts.audit import Actor
from accounts.models import Publisher, Role, User
from accounts.people.founding import check, record
from accounts.people.joining import join
from core.errors import NotFoundError
from core.public_ids import decode


@transaction.atomic
def create_publisher(
    *,
    name: str,
    time_zone: str = "UTC",
    owner_email: str = "",
    owner_password: str | None = None,
    actor: Actor | None = None,
) -> Publisher:
    """Store a publisher; `owner_email` names its owner, who is created when unknown, `actor` is for the audit log.

    A new owner without a password gets one by “Reset your password”. Raises InvalidError for an empty or
    long name and for an unknown time zone.
    """
    check(name=name, time_zone=time_zone)
    publisher = Publisher.objects.create(name=name, time_zone=time_zone)
    if owner_email:
        owner = User.objects.filter(email__iexact=owner_email).first()
        if owner is None:
            owner = User.objects.create_user(owner_email, owner_password)
        else:
            owner.end_unproven_password()
            owner.save(update_fields=["password"])
            owner.vouch_for_address()
        join(publisher, owner, role=Role.OWNER)
    if actor is not None:
        record("publisher.created", publisher, actor)
    return publisher


def find_publisher(name_or_id: str) -> Publisher:
    """Return the publisher with this public id or this name.

    Raises NotFoundError when there is none, or when several share the name.
    """
    found = Publisher.objects.filter(name=name_or_id)[:2]
    if name_or_id.startswith("pub_"):
        found = Publisher.objects.filter(public_id=decode("pub", name_or_id))[:2]
    if not found:
        raise NotFoundError("publisher_not_found", f"There is no publisher “{name_or_id}”.")
    if len(found) > 1:
        raise NotFoundError("publisher_not_found", f"Several publishers are called “{name_or_id}”; give an id (pub_…).")
    return found[0]
