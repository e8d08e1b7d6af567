"""The audit log: who decided what, written in the transaction of the effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from accounts.models import ActorKind, ApiKey, AuditEntry
from core.client_address import client_address

MAX_ACTOR_LENGTH = 254


@dataclass(frozen=True)
class Actor:
    """Who acts. `name` still says it when the user or key is gone; `ip_address` is the client's, where known."""

    kind: ActorKind
    name: str
    ip_address: str | None = None


SYSTEM = Actor(ActorKind.SYSTEM, "courant")


def person(request: HttpRequest) -> Actor:
    """Return who is signed in to the admin."""
    return Actor(ActorKind.USER, str(request.user), client_address(request))


def program(request: HttpRequest, key: ApiKey) -> Actor:
    """Return who calls the API."""
    return Actor(ActorKind.API_KEY, f"{key.uid} {key.name}", client_address(request))


def record(
    action: str,
    *,
    actor: Actor,
    publisher_id: int | None,
    object_type: str,
    object_id: str,
    detail: dict[str, Any] | None = None,
) -> None:
    """Append an entry, to be called in the transaction of what it is about. `action` is such as "delivery.resent"."""
    AuditEntry.objects.create(
        publisher_id=publisher_id,
        actor_kind=actor.kind,
        actor=actor.name[:MAX_ACTOR_LENGTH],
        action=action,
        object_type=object_type,
        object_id=object_id,
        detail=detail or {},
        ip_address=actor.ip_address,
    )
