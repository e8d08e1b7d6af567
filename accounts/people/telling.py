"""Security mails about people: to the person concerned, and to every owner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from accounts.audit import Actor
from accounts.mailing import queue
from accounts.models import AccountMailKind, Publisher, Role, User


def tell(
    event: str,
    publisher: Publisher,
    *,
    actor: Actor | None,
    about: User | None = None,
    also: Iterable[User] = (),
    **detail: Any,
) -> None:
    """Queue a mail about `event` to the publisher's owners, to whom it is `about` and to `also`, once to each."""
    told = {user.pk: user for user in (*_owners(publisher), *also)}
    if about is not None:
        told[about.pk] = about
        detail |= {"person": about.get_full_name(), "address": about.email}
    if actor is not None:
        detail |= {"by": actor.name, "ip": actor.ip_address}
    for user in told.values():
        if user.is_active:
            queue(
                AccountMailKind.SECURITY_NOTICE,
                to=user.email,
                user=user,
                detail={"event": event, "publisher": publisher.name, **detail},
            )


def _owners(publisher: Publisher) -> QuerySet[User]:
    return User.objects.filter(memberships__publisher=publisher, memberships__role=Role.OWNER)
