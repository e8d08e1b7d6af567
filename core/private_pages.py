"""What no cache may keep: pages are made for one person, and some of their addresses hold a secret."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.cache import add_never_cache_headers


class PrivatePagesMiddleware:
    """Forbid storing every HTML page, redirects too, that says nothing about caches itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if is_page and "Cache-Control" not in response.headers:
            add_never_cache_headers(response)
        return response
