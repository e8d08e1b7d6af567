"""Deprecated operations: they work on and say in each answer since when, until when and where to read more.

Headers: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), `Link` with rel="deprecation".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.utils.http import http_date
from ninja.decorators import decorate_view
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

View = TypeVar("View", bound=Callable[..., Any])


def deprecated(*, since: date, sunset: date | None = None, link: str) -> Callable[[View], View]:
    """Return a decorator for an endpoint, placed below the router's; days are UTC.

    The operation stays as it is; after `sunset` it may be removed, which needs a decision record.
    """
    headers = {"Deprecation": f"@{_seconds(since)}", "Link": f'<{link}>; rel="deprecation"; type="text/html"'}
    if sunset is not None:
        headers["Sunset"] = http_date(_seconds(sunset))

    def tell(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        def answer(request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
            response = view(request, *arguments, **named)
            for name, value in headers.items():
                response[name] = value
            return response

        return answer

    def mark(operation: Operation) -> None:
        operation.deprecated = True
        until = "" if sunset is None else f" It may be removed after {sunset.isoformat()}."
        operation.description = f"{operation.description}\n\nDeprecated since {since.isoformat()}: see {link}.{until}"

    def decorate(endpoint: View) -> View:
        contribute_operation_callback(endpoint, mark)
        decorated: View = decorate_view(tell)(endpoint)
        return decorated

    return decorate


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
