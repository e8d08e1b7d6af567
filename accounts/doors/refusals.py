"""How a link is refused that an account could not use any more, on the page and in JSON."""

from __future__ import annotations

from http import HTTPStatus

from allauth.core.internal.httpkit import is_headless_request
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.doors.json_only import answer_error

SENTENCES = {
    "email_taken": "Another account has this address.",
    "invalid_or_expired_key": "This link was used already, or another has taken its place.",
}


def refusal(request: HttpRequest, code: str, address: str = "") -> HttpResponse:
    """Return the answer in the form of django-allauth's: 409 with a page, 400 in JSON as for every wrong key."""
    if is_headless_request(request):
        return answer_error(HTTPStatus.BAD_REQUEST, code, SENTENCES[code], param="key")
    # The page says that the address is taken where there is a confirmation that cannot be.
    shown = {"confirmation": code == "email_taken", "can_confirm": False, "email": address}
    return render(request, "account/email_confirm.html", shown, status=HTTPStatus.CONFLICT)
