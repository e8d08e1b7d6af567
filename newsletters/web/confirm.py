"""`/c/<token>`: a reader confirms a subscription. The page has a button, since mail scanners open links."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse

from core.errors import GoneError, NotFoundError
from core.tokens import open_token
from newsletters.audience.subscribing import confirm, request_again
from newsletters.models import Subscription, SubscriptionState
from newsletters.web.pages import public_page, show

PURPOSE = "confirm"
MAX_AGE = timedelta(days=7)


@public_page()
def confirm_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button, or confirm when it was pressed."""
    # The age is judged below: a link that was used stays a link to "you are subscribed".
    opened = open_token(PURPOSE, token)
    age = timedelta(seconds=opened.age)
    place = find(opened.pk)
    if place.state == SubscriptionState.ACTIVE:
        return show("confirmed", place=place)
    if age > MAX_AGE:
        return show("expired", place=place, token=token, status=410)
    try:
        if request.method == "POST":
            return show("confirmed", place=confirm(place.pk, link_age=age))
    except GoneError:
        return show("withdrawn", place=place, token=token, status=410)
    if place.state == SubscriptionState.UNSUBSCRIBED:
        return show("withdrawn", place=place, token=token, status=410)
    return show("confirm", place=place)


@public_page("POST")
def confirm_again_page(_request: HttpRequest, token: str) -> HttpResponse:
    """Send a new confirmation mail to the reader whose link is of no more use."""
    return show("asked_again", place=request_again(open_token(PURPOSE, token).pk))


def find(subscription_id: int) -> Subscription:
    """Return a subscription to a newsletter that still exists; raises NotFoundError."""
    found = (
        Subscription.objects.select_related("subscriber", "newsletter")
        .filter(pk=subscription_id, newsletter__deleted_at__isnull=True)
        .first()
    )
    if found is None:
        raise NotFoundError("not_found", "There is no such subscription.")
    return found
