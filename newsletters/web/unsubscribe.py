"""`/u/<token>`: a reader leaves. Opening the page changes nothing; a POST acts, a mail program's too.

A mail program posts `List-Unsubscribe=One-Click` to the same address, without cookie and without
following redirects (RFC 8058).
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from core.errors import NotFoundError
from core.tokens import open_token
from newsletters.audience.subscribing import request_again, unsubscribe
from newsletters.models import SubscriptionState
from newsletters.web.confirm import find
from newsletters.web.pages import public_page, show

PURPOSE = "unsubscribe"


@public_page()
def unsubscribe_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button, or unsubscribe when it was pressed. Whoever is gone already is told so."""
    pk = open_token(PURPOSE, token).pk
    if request.method == "POST":
        # The body is not read: nothing that a mail program may write there can make the request fail.
        unsubscribe(pk, source="unsubscribe_page" if "page" in request.GET else "one_click")
    try:
        place = find(pk)
    except NotFoundError:
        return show("unsubscribed")
    if place.state == SubscriptionState.UNSUBSCRIBED:
        return show("unsubscribed", place=place, token=token)
    return show("unsubscribe", place=place)


@public_page("POST")
def subscribe_again_page(_request: HttpRequest, token: str) -> HttpResponse:
    """Take a reader's own new request after leaving; it still has to be confirmed by mail."""
    return show("asked_again", place=request_again(open_token(PURPOSE, token).pk))
