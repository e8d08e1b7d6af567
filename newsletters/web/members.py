"""Pages of a publisher's members: who they are, what they may do, removing them, handing ownership on."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from accounts.models import ApiKey, Membership, Publisher, Role
from accounts.people.inviting import open_invitations
from accounts.people.members import remove, transfer_ownership
from accounts.web.asking import OWNERS, Asker, publisher_page
from core.database import database_now
from core.errors import ConflictError, NotFoundError
from core.tokens import sealed_number
from newsletters.models import MemberLimit
from newsletters.publishing.members import change_member
from newsletters.web.choosing import NewslettersForm, reach_of

ROLES = [
    (Role.OWNER, "Owner: everything, also members and API keys"),
    (Role.EDITOR, "Editor: writes and sends"),
    (Role.VIEWER, "Viewer: reads"),
]


class MemberForm(NewslettersForm):
    """A member's role, and for which newsletters it holds."""

    role = forms.ChoiceField(choices=ROLES, widget=forms.RadioSelect)
    field_order = ("role", "reach", "newsletters")
    membership: Membership

    def carry_out(self) -> Membership:
        return change_member(
            self.membership,
            role=Role(self.cleaned_data["role"]),
            newsletters=self.chosen(),
            by=self.asker.user,
            actor=self.asker.actor,
        )


@publisher_page(OWNERS, "GET", "HEAD")
def members_page(request: HttpRequest, asker: Asker) -> HttpResponse:
    invitations = open_invitations(asker.publisher).prefetch_related("limits__newsletter").order_by("pk")
    context = {"asker": asker, "members": _members(asker.publisher), "invitations": invitations}
    return render(request, "newsletters/people/members.html", context | {"now": database_now()})


@publisher_page(OWNERS, "GET", "HEAD", "POST")
def member_page(request: HttpRequest, asker: Asker, member_id: str) -> HttpResponse:
    membership = _find(asker.publisher, member_id)
    newsletters = [limit.newsletter for limit in membership.limits.all()]
    initial = {"role": membership.role} | reach_of(membership.limited, newsletters)
    form = MemberForm(request.POST or None, initial=initial, asker=asker)
    form.membership = membership
    if request.method == "POST" and form.is_valid():
        messages.success(request, f"{membership.user.get_full_name()} is {form.outcome.get_role_display()} now.")
        return _go_on(asker, membership)
    return render(request, "newsletters/people/member.html", {"asker": asker, "member": membership, "form": form})


@publisher_page(OWNERS, "GET", "HEAD", "POST")
def remove_page(request: HttpRequest, asker: Asker, member_id: str) -> HttpResponse:
    """Ask, telling which keys stay, then end a membership."""
    membership = _find(asker.publisher, member_id)
    if request.method == "POST":
        try:
            remove(membership, by=asker.user, actor=asker.actor)
        except ConflictError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"{membership.user.get_full_name()} is not a member any more.")
        return _go_on(asker, membership)
    keys = ApiKey.objects.filter(publisher=asker.publisher, created_by=membership.user, revoked_at__isnull=True)
    return render(request, "newsletters/people/remove.html", {"asker": asker, "member": membership, "keys": keys})


@publisher_page(OWNERS, "GET", "HEAD", "POST", fresh=True)
def transfer_page(request: HttpRequest, asker: Asker, member_id: str) -> HttpResponse:
    """Ask, then make another member an owner in one's own place."""
    membership = _find(asker.publisher, member_id)
    if request.method == "POST":
        try:
            transfer_ownership(membership, by=asker.user, actor=asker.actor)
        except ConflictError as error:
            messages.error(request, error.detail)
            return redirect("members", asker.publisher.uid)
        messages.success(request, f"{membership.user.get_full_name()} is owner now, and you are an editor.")
        return redirect("publisher", asker.publisher.uid)
    return render(request, "newsletters/people/transfer.html", {"asker": asker, "member": membership})


def _go_on(asker: Asker, changed: Membership) -> HttpResponse:
    # Whoever has changed what they are themselves may not open the list any more.
    return redirect("publishers") if changed.user == asker.user else redirect("members", asker.publisher.uid)


def _members(publisher: Publisher) -> QuerySet[Membership]:
    alive = MemberLimit.objects.filter(newsletter__deleted_at__isnull=True).select_related("newsletter")
    rows = Membership.objects.filter(publisher=publisher).select_related("user", "publisher").order_by("pk")
    return rows.prefetch_related(Prefetch("limits", alive))


def _find(publisher: Publisher, member_id: str) -> Membership:
    """Return a member of the publisher by an id such as "mem_mfrgg…". Raises NotFoundError."""
    found = _members(publisher).filter(pk=sealed_number("mem", "member", member_id)).first()
    if found is None:
        raise NotFoundError("not_found", "There is no such member.")
    return found
