"""Claiming: a lane takes due rows under a lease."""

from __future__ import annotations

from django.conf import settings

from newsletters.delivery.dialects import Claimed, dialect


def claim(issue_id: int, limit: int) -> list[Claimed]:
    """Take up to `limit` due rows of a sending issue, `queued → sending`; an empty list when none is due."""
    return dialect().claim(issue_id, limit=limit, lease_seconds=settings.DELIVERY_LEASE_SECONDS, suspects=False)


def claim_suspect(issue_id: int, _limit: int = 1) -> list[Claimed]:
    """Take one due row that was in flight when a worker died; it must be attempted alone."""
    return dialect().claim(issue_id, limit=1, lease_seconds=settings.DELIVERY_LEASE_SECONDS, suspects=True)
