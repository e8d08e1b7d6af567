"""How the public pages are answered: which methods, which headers, which template."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from core.errors import NotFoundError
from core.tokens import InvalidTokenError

View = Callable[[HttpRequest, str], HttpResponse]

HEADERS = {
    # The address of the page is a secret; it goes to no other site, no cache and no search engine.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store, private",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
PAGE_METHODS = ("GET", "HEAD", "POST")


def public_page(*methods: str) -> Callable[[View], View]:
    """Serve a page whose link is its whole authority: no cookie, no log-in, no CSRF token.

    `methods` are the ones it answers, by default those of a page with a button. A view raises
    InvalidTokenError or NotFoundError for a link that leads nowhere.
    """

    def decorate(view: View) -> View:
        allowed = require_http_methods(list(methods or PAGE_METHODS))(view)

        @functools.wraps(view)
        def answer(request: HttpRequest, token: str) -> HttpResponse:
            try:
                response: HttpResponse = allowed(request, token)
            except (InvalidTokenError, NotFoundError):
                # One answer to every link that is not ours, whatever is wrong with it.
                response = show("not_found", status=404)
            for name, value in HEADERS.items():
                response.headers[name] = value
            return response

        return csrf_exempt(answer)

    return decorate


def show(template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    """Return a page of `templates/newsletters/web/`; without a request, so that no session is touched."""
    return HttpResponse(render_to_string(f"newsletters/web/{template}.html", context), status=status)
