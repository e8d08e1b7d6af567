"""The pages that show caught mails. There are none with DEBUG off."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe

from newsletters.demo import maildir

PAGE_SIZE = 50
MAX_PAGE = 100_000
MAIL_POLICY = "sandbox; default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


def _debug_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @require_safe
    def guarded(request: HttpRequest, **kwargs: str) -> HttpResponse:
        if not settings.DEBUG:
            raise Http404
        return view(request, **kwargs)

    return guarded


@_debug_only
def mails(request: HttpRequest) -> HttpResponse:
    """List the mails, newest first; `q` searches recipients and subjects, `page` counts from 1."""
    text = request.GET.get("q", "")
    asked = request.GET.get("page", "1")
    page = min(int(asked), MAX_PAGE) if asked.isascii() and asked.isdigit() and int(asked[:9]) else 1
    first = (page - 1) * PAGE_SIZE
    names = maildir.names()
    if text:
        found = list(itertools.islice(maildir.search(text), first, first + PAGE_SIZE + 1))
    else:
        found = [maildir.head(name) for name in names[first : first + PAGE_SIZE + 1]]
    context = {
        "mails": found[:PAGE_SIZE],
        "q": text,
        "page": page,
        "more": len(found) > PAGE_SIZE,
        "total": len(names),
    }
    return render(request, "demo/mails.html", context)


@_debug_only
def mail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one mail: how it looks, its text part, its headers."""
    found = maildir.read(name)
    if found is None:
        raise Http404
    headers = [(header, str(value)) for header, value in found.items()]
    context = {"name": name, "mail": found, "subject": str(found.get("Subject", "")), "headers": headers}
    return render(request, "demo/mail.html", context | {"text": maildir.part(found, "plain")})


@_debug_only
def mail_html(request: HttpRequest, name: str) -> HttpResponse:  # noqa: ARG001  # Django's signature
    """Return the HTML part alone, in an origin of its own."""
    found = maildir.read(name)
    if found is None:
        raise Http404
    response = HttpResponse(maildir.part(found, "html"))
    response["Content-Security-Policy"] = MAIL_POLICY
    response["X-Frame-Options"] = "SAMEORIGIN"
    return response


urlpatterns = [
    path("", mails, name="caught-mails"),
    path("<str:name>/", mail, name="caught-mail"),
    path("<str:name>/html/", mail_html, name="caught-mail-html"),
]
