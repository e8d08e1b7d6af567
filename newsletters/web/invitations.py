"""Pages of invitations: an owner's, and the one that the link in the mail leads to."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from accounts.audit import person
from accounts.current import choose
from accounts.doors.invited import forget, remember
from accounts.links import INVITATION
from accounts.models import Invitation, Publisher, Role
from accounts.people.accepting import is_meant_for, require_open
from accounts.people.inviting import resend, withdraw
from accounts.web.asking import OWNERS, Asker, publisher_page
from core.errors import CourantError, NotFoundError
from core.public_ids import decode
from core.tokens import InvalidTokenError, open_token
from newsletters.models import Newsletter
from newsletters.publishing.members import accept, invite
from newsletters.web.choosing import NewslettersForm
from newsletters.web.members import ROLES


class InvitationForm(NewslettersForm):
    """Whom an owner invites, as what, and for which newsletters."""

    address = forms.CharField(
        max_length=254,
        label="E-mail address",
        help_text="A link is mailed to it. Only somebody with this address can accept, within seven days.",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    role = forms.ChoiceField(choices=ROLES, initial=Role.EDITOR, widget=forms.RadioSelect)
    field_order = ("address", "role", "reach", "newsletters")

    def carry_out(self) -> Invitation:
        return invite(
            self.asker.publisher,
            address=self.cleaned_data["address"],
            role=Role(self.cleaned_data["role"]),
            newsletters=self.chosen(),
            by=self.asker.user,
            actor=self.asker.actor,
        )


@publisher_page(OWNERS, "GET", "HEAD", "POST")
def invite_page(request: HttpRequest, asker: Asker) -> HttpResponse:
    form = InvitationForm(request.POST or None, asker=asker)
    if request.method == "POST" and form.is_valid():
        messages.success(request, f"An invitation is on its way to {form.outcome.address}.")
        return redirect("members", asker.publisher.uid)
    return render(request, "newsletters/people/invite.html", {"asker": asker, "form": form})


@publisher_page(OWNERS, "POST")
def resend_page(request: HttpRequest, asker: Asker, invitation_id: str) -> HttpResponse:
    invitation = _find(asker.publisher, invitation_id)
    done = f"The invitation is on its way to {invitation.address} again."
    return _carry_out(request, asker, resend, invitation, done=done)


@publisher_page(OWNERS, "POST")
def withdraw_page(request: HttpRequest, asker: Asker, invitation_id: str) -> HttpResponse:
    invitation = _find(asker.publisher, invitation_id)
    done = f"The invitation of {invitation.address} is withdrawn."
    return _carry_out(request, asker, withdraw, invitation, done=done)


def _carry_out(
    request: HttpRequest, asker: Asker, act: Callable[..., None], invitation: Invitation, *, done: str
) -> HttpResponse:
    try:
        act(invitation, by=asker.user, actor=asker.actor)
        messages.success(request, done)
    except CourantError as error:
        messages.error(request, error.detail)
    return redirect("members", asker.publisher.uid)


def _find(publisher: Publisher, invitation_id: str) -> Invitation:
    rows = Invitation.objects.select_related("publisher").filter(publisher=publisher)
    found = rows.filter(public_id=decode("inv", invitation_id)).first()
    if found is None:
        raise NotFoundError("not_found", "There is no such invitation.")
    return found


# --- the link in the mail -----------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_page(request: HttpRequest, token: str) -> HttpResponse:
    """Show who invites to what. A POST accepts, or leads a stranger to the log-in or the sign-up and back.

    The address is a secret, which the site's Referrer-Policy (same-origin) keeps here. "no-referrer" would make the
    browser hide the origin of the page's own forms as well (Fetch, 3.2.5), and they would be refused.
    """
    try:
        pk = open_token(INVITATION, token).pk
    except InvalidTokenError:
        pk = 0
    rows = Invitation.objects.select_related("publisher", "invited_by", "accepted_by")
    invitation = rows.filter(pk=pk).first()
    if invitation is None:
        return _show(request, None, problem="This link does not lead to an invitation.", status=HTTPStatus.NOT_FOUND)
    if request.user.is_authenticated and invitation.accepted_by == request.user:
        forget(request)
        return redirect("publisher", invitation.publisher.uid)
    try:
        require_open(invitation)
        if request.method == "POST":
            return _go_on(request, invitation)
    except CourantError as error:
        forget(request)
        return _show(request, invitation, problem=error.detail, status=error.status)
    return _show(request, invitation)


def _go_on(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    if not request.user.is_authenticated:
        remember(request, invitation)
        page = "account_signup" if "sign-up" in request.POST else "account_login"
        return redirect(f"{reverse(page)}?{urlencode({'next': request.path})}")
    accept(invitation, by=request.user, actor=person(request))
    forget(request)
    choose(request, invitation.publisher)
    messages.success(request, f"You are a member of {invitation.publisher} now.")
    return redirect("publisher", invitation.publisher.uid)


def _show(
    request: HttpRequest, invitation: Invitation | None, *, problem: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    user = request.user
    newsletters = Newsletter.objects.alive().filter(invitation_limits__invitation=invitation).order_by("name")
    context = {
        "layout": "accounts/page.html" if user.is_authenticated else "courant/card.html",
        "invitation": invitation,
        "newsletters": newsletters if invitation is not None else [],
        "problem": problem,
        "mine": user.is_authenticated and invitation is not None and is_meant_for(invitation, user),
        "sign_up": settings.SIGN_UP != "closed",
    }
    return render(request, "newsletters/people/invitation.html", context, status=status)
