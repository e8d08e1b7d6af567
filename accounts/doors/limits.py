"""What is told to whom has asked too often; how often one may ask stands in the settings (ACCOUNT_RATE_LIMITS)."""

from __future__ import annotations

import contextvars
import math
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.cache.backends.db import DatabaseCache
from django.http import HttpRequest, HttpResponse

# What django-allauth's keys of counts begin with; the fifth part is the rate, such as "3/600.0/key".
PREFIX = "allauth:rl:"
RATE_PART = 4
_looked_at: contextvars.ContextVar[tuple[str, list[float]] | None] = contextvars.ContextVar("looked_at", default=None)


class CountsCache(DatabaseCache):
    """The cache in the database, which knows the count that was looked at last.

    django-allauth says that a limit is reached, and not which: nothing is looked at after the count that refused.
    """

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        found = super().get(key, default, version)
        if str(key).startswith(PREFIX) and isinstance(found, list):
            _looked_at.set((key, found))
        return found


class RetryAfterMiddleware:
    """Says when to come back, on pages and in JSON."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        _looked_at.set(None)
        response = self._get_response(request)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            response.headers.setdefault("Retry-After", str(_seconds_to_wait()))
        return response


def _seconds_to_wait() -> int:
    """Return when the oldest of the counted requests is forgotten; 1 where somebody else held the count."""
    key, moments = _looked_at.get() or ("", [])
    if not moments:
        return 1
    amount, seconds, _per = key.split(":")[RATE_PART].split("/")
    # A request that was refused is not counted: with fewer than the rate has, the next one passes.
    wait = moments[-1] + float(seconds) - time.time() if len(moments) >= int(amount) else 0.0
    return max(1, math.ceil(wait))
