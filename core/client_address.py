"""Where a request comes from, as far as the operator's own proxies vouch for it."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """Return the IP address of the client, or null where it is not known.

    Each of `TRUSTED_PROXY_COUNT` proxies adds to the right of X-Forwarded-For the address that it was called from;
    whatever stands further left is the client's own claim. Without proxies the connection's other end counts.
    """
    count: int = settings.TRUSTED_PROXY_COUNT
    if not count:
        return _plain(request.META.get("REMOTE_ADDR", ""))
    entries = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    return _plain(entries[-count]) if len(entries) >= count else None


def _plain(text: str) -> str | None:
    """Return the canonical form of an IP address; null for anything else, such as one with a port or a zone."""
    try:
        address = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return None if address.scope_id else str(address.ipv4_mapped or address)
