"""The middleware that hands each answered request with a good key to the journal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from django.http import HttpRequest, HttpResponse

from accounts.journal import Entry, journal
from accounts.models import ApiKey

_ATTRIBUTE = "api_caller"


@dataclass(frozen=True)
class Caller:
    """The key that a request came with, and the operation that it asked for."""

    key: ApiKey
    operation: str


def remember_caller(request: HttpRequest, caller: Caller) -> None:
    """Note who asks, for the middleware that sees the answer."""
    setattr(request, _ATTRIBUTE, caller)


class JournalMiddleware:
    """Measures what stands inside of it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.monotonic()
        response = self._get_response(request)
        caller: Caller | None = getattr(request, _ATTRIBUTE, None)
        if caller is not None:
            ended = time.monotonic()
            entry = Entry(
                key=caller.key,
                request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
                method=request.method or "",
                operation=caller.operation,
                status=response.status_code,
                problem=response.content if response.status_code >= HTTPStatus.BAD_REQUEST else b"",
                milliseconds=(ended - started) * 1000,
                ended=ended,
            )
            journal.note(entry)
        return response
