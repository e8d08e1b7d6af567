"""Claiming: a lane takes due rows under a lease."""

from __future__ import annotations

from django.conf import settings

from newsletters.delivery import restore_watch
from newsletters.delivery.dialects import Claimed, dialect


def claim(issue_id: int, limit: int) -> list[Claimed]:
    """Take up to `limit` due rows of a sending issue, `queued → sending`; an empty list when none is due."""
    return _recognised(issue_id, limit=limit, suspects=False)


def claim_suspect(issue_id: int, _limit: int = 1) -> list[Claimed]:
    """Take one due row that was in flight when a worker died; it must be attempted alone."""
    return _recognised(issue_id, limit=1, suspects=True)


def _recognised(issue_id: int, *, limit: int, suspects: bool) -> list[Claimed]:
    """Claim between two looks at the database's identity.

    A restore before the claim shows in the second look, which blocks the issue, so the gate refuses. A restore after
    it takes away the lease, so the gate refuses too.
    """
    if not restore_watch.may_send():
        return []
    rows = dialect().claim(issue_id, limit=limit, lease_seconds=settings.DELIVERY_LEASE_SECONDS, suspects=suspects)
    # Rows of a database that is not recognised stay behind until their leases end.
    return rows if not rows or restore_watch.look() else []
