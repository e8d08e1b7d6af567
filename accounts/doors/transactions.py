"""One transaction for each step through a door.

What a view of django-allauth writes (a user, an address, the intent of a mail, an audit entry, a count of a limit) is
committed together, or not at all. Expected ends that django-allauth raises as exceptions are ends of success: what
was counted until then must stay.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse, RateLimited, ReauthenticationRequired
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver

View = Callable[..., HttpResponse]
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
EXPECTED = (ImmediateHttpResponse, RateLimited, ReauthenticationRequired)


def whole(urlconf: str) -> list[URLPattern | URLResolver]:
    """Return the URL patterns of a module, each view of which runs in one transaction unless it only reads."""
    patterns: list[URLPattern | URLResolver] = importlib.import_module(urlconf).urlpatterns
    for pattern in patterns:
        _wrap(pattern)
    return patterns


def _wrap(pattern: URLPattern | URLResolver) -> None:
    if isinstance(pattern, URLPattern):
        pattern.callback = in_one_transaction(pattern.callback)
        return
    for inner in pattern.url_patterns:
        _wrap(inner)


def in_one_transaction(view: View) -> View:
    """Return the view with all that it writes committed together."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method in SAFE_METHODS:
            return view(request, *args, **kwargs)
        try:
            return _run(view, request, *args, **kwargs)
        except IntegrityError:
            # Somebody else stored the same address at the same moment; now it is there to be seen.
            return _run(view, request, *args, **kwargs)

    return wrapped


def _run(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    expected: Exception
    with transaction.atomic():
        try:
            response = view(request, *args, **kwargs)
            _run_what_waits_for_the_commit()
        except EXPECTED as ended:
            expected = ended
        else:
            return response
    raise expected


def _run_what_waits_for_the_commit() -> None:
    # django-allauth tells of new second factors only then; their audit entries and mails are to be part of it.
    connection = transaction.get_connection()
    waiting, connection.run_on_commit = connection.run_on_commit, []
    for _savepoints, act, _robust in waiting:
        act()
