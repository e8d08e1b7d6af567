"""How much one API key, and one address without a key, may ask.

A request with a good key uses up its key's quota only, wherever it comes from. Everything else below /api/ (no key, a
wrong one, an unknown path, a method that is not taken) uses up the quota of the address that it comes from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse

from accounts.keys import KEY
from accounts.models import ApiKey
from core import problems
from core.client_address import client_address
from core.errors import CourantError, TooManyRequestsError
from core.rate_limit import Limit, Taken, take

WINDOW_SECONDS = 1
# The smallest network that one customer gets (RFC 6177): its owner has all of its addresses.
IPV6_PREFIX = 64
_ATTRIBUTE = "rate_limit"
_UNLIMITED = None


class RateLimitMiddleware:
    """Charges what no key pays for to the address, and tells callers in header fields what is left."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(problems.API_PREFIX):
            return self._get_response(request)
        response = self._answer(request)
        taken: Taken | None = getattr(request, _ATTRIBUTE, _UNLIMITED)
        if taken is not None:
            for name, value in taken.headers().items():
                response[name] = value
        return response

    def _answer(self, request: HttpRequest) -> HttpResponse:
        try:
            # Without what looks like a key nothing is done at all before the address has paid.
            if not KEY.search(request.headers.get("Authorization", "")):
                charge_address(request)
            response = self._get_response(request)
            if not hasattr(request, _ATTRIBUTE):
                charge_address(request)
        except (CourantError, DatabaseError, InterfaceError) as error:
            return problems.from_exception(error)
        return response


def charge_key(request: HttpRequest, key: ApiKey) -> None:
    """Take a request out of the key's quota. Raises TooManyRequestsError `rate_limited`."""
    _charge(request, f"key {key.pk}", Limit("key", settings.API_KEY_RATE, WINDOW_SECONDS))


def charge_address(request: HttpRequest) -> None:
    """Take a request out of the quota of the client's address. Raises TooManyRequestsError `rate_limited`."""
    bucket = f"address {_network(client_address(request))}"
    _charge(request, bucket, Limit("address", settings.API_ADDRESS_RATE, WINDOW_SECONDS))


def _charge(request: HttpRequest, bucket: str, limit: Limit) -> None:
    taken = take(bucket, limit) if limit.quota else _UNLIMITED
    setattr(request, _ATTRIBUTE, taken)
    if taken is not None and not taken.allowed:
        raise TooManyRequestsError(
            "rate_limited",
            f"More than {limit.quota} requests a second for this {limit.name}; wait as Retry-After says.",
        )


def _network(address: str | None) -> str:
    """Return what shares a quota: an IPv4 address, an IPv6 network, or all whose address is not known."""
    if address is None:
        return "unknown"
    if ":" in address:
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return address
