"""`/v/<token>`: the owner of an address agrees that a publisher sends from it."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest, HttpResponse

from core.errors import NotFoundError
from core.tokens import ExpiredTokenError, open_token
from newsletters.models import SenderIdentity
from newsletters.publishing.senders import verify
from newsletters.web.pages import public_page, show

PURPOSE = "verify-sender"
MAX_AGE = timedelta(days=7)


@public_page()
def verify_sender_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show the button, or verify the address when it was pressed."""
    try:
        pk = open_token(PURPOSE, token, max_age=int(MAX_AGE.total_seconds())).pk
    except ExpiredTokenError:
        return show("sender_expired", status=410)
    if request.method == "POST":
        return show("sender_verified", sender=verify(pk))
    sender = SenderIdentity.objects.select_related("publisher").filter(pk=pk).first()
    if sender is None:
        raise NotFoundError("not_found", "There is no such sender.")
    return show("sender_verified" if sender.verified_at else "verify_sender", sender=sender)
