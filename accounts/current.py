"""The publisher that somebody works for just now: chosen by them, kept in their session."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.models import Membership, Publisher
from accounts.people.founding import memberships_of

SESSION_KEY = "publisher"
_ATTRIBUTE = "memberships"


def memberships(request: HttpRequest) -> list[Membership]:
    """Return what who asks is and where, the first joined first; read once in a request."""
    known: list[Membership] | None = getattr(request, _ATTRIBUTE, None)
    if known is None:
        known = memberships_of(request.user) if request.user.is_authenticated and request.user.is_active else []
        setattr(request, _ATTRIBUTE, known)
    return known


def current_membership(request: HttpRequest) -> Membership | None:
    """Return the membership in the chosen publisher, by default in the one that was joined first."""
    mine = memberships(request)
    chosen = request.session.get(SESSION_KEY)
    return next((one for one in mine if one.publisher_id == chosen), mine[0] if mine else None)


def limited_membership(request: HttpRequest) -> Membership | None:
    """Return the current membership of somebody who sees chosen newsletters only."""
    membership = None if request.user.is_superuser else current_membership(request)
    return membership if membership is not None and membership.limited else None


def choose(request: HttpRequest, publisher: Publisher) -> None:
    """Work for this publisher from now on. Without a membership there it has no effect."""
    request.session[SESSION_KEY] = publisher.pk


def switcher(request: HttpRequest) -> dict[str, Any]:
    """Give templates `memberships` and `current_publisher`, which ask the database only where a page shows them."""
    if not hasattr(request, "user"):
        return {}
    return {
        "memberships": SimpleLazyObject(lambda: memberships(request)),
        "current_publisher": SimpleLazyObject(lambda: _current_publisher(request)),
    }


def _current_publisher(request: HttpRequest) -> Publisher | None:
    membership = current_membership(request)
    return membership.publisher if membership else None
