"""The Message-ID of a delivery, as its frozen edition writes it."""

from __future__ import annotations

import functools
import uuid

from core.tokens import seal_id
from newsletters.delivery.compose import Special, Template
from newsletters.models import Delivery, Edition

KNOWN_ISSUES = 1_000


def message_id(row: Delivery) -> str | None:
    """Return the header's value with its angle brackets; None when this release cannot read what was frozen."""
    try:
        host = _host(row.issue.public_id)
    except (Edition.DoesNotExist, ValueError, LookupError, TypeError):
        return None
    return f"<{seal_id('message', row.pk)}@{host}>"


@functools.lru_cache(KNOWN_ISSUES)
def _host(issue: uuid.UUID) -> str:
    """Return what stands behind the @. An edition never changes; a newsletter's sender may."""
    data = Edition.objects.values_list("template", flat=True).get(issue__public_id=issue)
    parts = Template.from_bytes(bytes(data)).parts
    following = parts[parts.index(Special.MESSAGE_ID) + 1]
    if not isinstance(following, bytes):
        raise TypeError("The Message-ID of this edition has another form.")
    return following[1 : following.index(b">")].decode("ascii")
