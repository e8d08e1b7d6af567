"""A person founds a publisher of their own, and its owners say what it is called."""

from __future__ import annotations

import zoneinfo

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.audit import Actor
from accounts.models import Membership, Publisher, Role, User
from accounts.people.joining import join
from accounts.people.standing import lock, require_owner
from core.errors import ForbiddenError, invalid_field
from core.text_types import shows_something

MAX_NAME_LENGTH = 100
# What one person may own without being the operator: each may send invitations.
MOST_OWNED = 20


def may_found(user: User) -> bool:
    """Say whether somebody may make publishers: everybody where sign-up is open, elsewhere superusers."""
    return user.is_active and (user.is_superuser or settings.SIGN_UP == "open")


def check(*, name: str, time_zone: str) -> None:
    """Raise InvalidError for an empty or long name and for an unknown time zone."""
    if not shows_something(name) or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise invalid_field("/name", "invalid_name", f"A name has 1 to {MAX_NAME_LENGTH} printable characters.")
    if time_zone not in zoneinfo.available_timezones():
        raise invalid_field("/time_zone", "unknown_time_zone", "Name a time zone such as Europe/Berlin.")


@transaction.atomic
def found_publisher(by: User, *, name: str, time_zone: str, actor: Actor) -> Publisher:
    """Store a publisher whose first owner is who asks.

    Raises ForbiddenError `by_invitation` or
    `too_many_publishers`, InvalidError.
    """
    if not may_found(by):
        raise ForbiddenError("by_invitation", "You need an invitation to a publisher.")
    if not by.is_superuser and Membership.objects.filter(user=by, role=Role.OWNER).count() >= MOST_OWNED:
        raise ForbiddenError("too_many_publishers", f"One person owns at most {MOST_OWNED} publishers.")
    check(name=name, time_zone=time_zone)
    publisher = Publisher.objects.create(name=name, time_zone=time_zone)
    join(publisher, by, role=Role.OWNER)
    record("publisher.created", publisher, actor)
    return publisher


@transaction.atomic
def update_publisher(publisher: Publisher, *, name: str, time_zone: str, by: User, actor: Actor) -> Publisher:
    """Store a new name and time zone. Raises ForbiddenError, NotFoundError, InvalidError."""
    locked = lock(publisher)
    require_owner(by, locked)
    check(name=name, time_zone=time_zone)
    if (
        Publisher.objects.filter(pk=locked.pk)
        .exclude(name=name, time_zone=time_zone)
        .update(name=name, time_zone=time_zone)
    ):
        locked.refresh_from_db()
        record("publisher.changed", locked, actor)
    return locked


def memberships_of(user: User) -> list[Membership]:
    """Return what somebody is and where, the first joined first."""
    return list(Membership.objects.filter(user=user).select_related("publisher").order_by("pk"))


def record(action: str, publisher: Publisher, actor: Actor) -> None:
    """Write down that a publisher was made or changed, in the transaction of that."""
    audit.record(
        action,
        actor=actor,
        publisher_id=publisher.pk,
        object_type="publisher",
        object_id=publisher.uid,
        detail={"name": publisher.name, "time_zone": publisher.time_zone},
    )
