"""Addresses that get no mail from a publisher, whatever anybody subscribes them to."""

from __future__ import annotations

from newsletters.models import Suppression, SuppressionReason


def suppress(publisher_id: int, digest: bytes, reason: SuppressionReason) -> None:
    """Stop all mail of a publisher to an address, known by its digest; an earlier reason stays."""
    Suppression.objects.bulk_create(
        [Suppression(publisher_id=publisher_id, address_digest=digest, reason=reason)],
        ignore_conflicts=True,
    )


def is_suppressed(publisher_id: int, digest: bytes) -> bool:
    """Say whether a publisher must not mail the address with this digest."""
    return Suppression.objects.filter(publisher_id=publisher_id, address_digest=digest).exists()
