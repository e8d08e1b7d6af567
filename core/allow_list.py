"""The staging guard: with RECIPIENT_ALLOW_LIST set, nobody else is ever mailed."""

from __future__ import annotations

from django.conf import settings


def is_allowed(address: str) -> bool:
    """Say whether mail may go to this canonical address.

    An entry of RECIPIENT_ALLOW_LIST is an address or a domain (`example.org` or `@example.org`, which
    does not cover its subdomains). An empty list allows everybody.
    """
    if not settings.RECIPIENT_ALLOW_LIST:
        return True
    key = address.lower()
    allowed = {entry.lower().removeprefix("@") for entry in settings.RECIPIENT_ALLOW_LIST}
    return key in allowed or key.rpartition("@")[2] in allowed
