"""`/`: where people go on after they have signed in."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from accounts.current import memberships
from accounts.doors.invited import invitation_of
from accounts.links import INVITATION
from accounts.web.asking import signed_in
from core.tokens import make_token


@signed_in("GET", "HEAD")
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the invitation that somebody came with, to their first publisher, or to the newsletters."""
    invitation = invitation_of(request)
    if invitation is not None:
        return redirect("invitation", make_token(INVITATION, invitation.pk))
    assert request.user.is_authenticated
    works = bool(memberships(request)) and request.user.is_staff
    return redirect("admin:index" if works else "publishers")
