"""What is told to whom has asked too often; how often one may ask stands in the settings (ACCOUNT_RATE_LIMITS)."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse

# The window of all limits but those of mails to one address, which is longer.
WINDOW_SECONDS = 60


class RetryAfterMiddleware:
    """Says when to come back, on pages and in JSON."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            response.headers.setdefault("Retry-After", str(WINDOW_SECONDS))
        return response
