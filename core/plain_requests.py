"""What no page has to look at: text that a database cannot store (NUL).

PostgreSQL refuses NUL in every text, SQLite does not, and a page would have to ask itself at each value that it hands
on. Bodies in JSON are read by `core.strict_json`, which refuses it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, QueryDict

NUL = "\0"


class PlainCookiesMiddleware:
    """Takes a cookie with NUL for none of ours; stands before whatever looks at cookies."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        for name in [name for name, value in request.COOKIES.items() if NUL in value]:
            del request.COOKIES[name]
        return self._get_response(request)


class PlainValuesMiddleware:
    """Refuses NUL in the query and in the form of every page with a session.

    Stands after the check for forged requests, which alone may have a form read. Pages that are exempt from that (links
    in newsletters, and what speaks JSON) read neither query nor form.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Any, _args: Any, _kwargs: Any) -> None:
        """Raise BadRequest for a value that no column takes."""
        if getattr(view, "csrf_exempt", False):
            return
        if _has_nul(request.GET) or (request.method == "POST" and _has_nul(request.POST)):
            raise BadRequest("Values must not contain NUL.")


def _has_nul(given: QueryDict) -> bool:
    values: Iterable[tuple[str, list[Any]]] = given.lists()
    return any(NUL in name or any(NUL in value for value in many) for name, many in values)
