"""Pages of publishers: founding one, its name, leaving it, and working for another."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.audit import Actor, person
from accounts.current import choose, current_membership, memberships
from accounts.forms import CarriesOut
from accounts.models import Publisher, User
from accounts.people.founding import MAX_NAME_LENGTH, found_publisher, may_found, update_publisher
from accounts.people.members import leave
from accounts.web.asking import EVERY_ROLE, Asker, publisher_page, signed_in
from core.errors import ConflictError, NotFoundError


class PublisherForm(CarriesOut, forms.Form):
    """A publisher's name and time zone; a new publisher without `publisher`."""

    name = forms.CharField(max_length=MAX_NAME_LENGTH, help_text="Of the organisation or person that publishes.")
    time_zone = forms.ChoiceField(initial="UTC", help_text="In which the times of schedules are meant.")

    def __init__(
        self, *args: Any, user: User, actor: Actor, publisher: Publisher | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.user, self.actor, self.publisher = user, actor, publisher
        zones = sorted(zoneinfo.available_timezones())
        self.fields["time_zone"].choices = [(zone, zone) for zone in zones]  # type: ignore[attr-defined]  # ChoiceField

    def carry_out(self) -> Publisher:
        given = {"name": self.cleaned_data["name"], "time_zone": self.cleaned_data["time_zone"]}
        if self.publisher is None:
            return found_publisher(self.user, **given, actor=self.actor)
        return update_publisher(self.publisher, **given, by=self.user, actor=self.actor)


@signed_in("GET", "HEAD")
def publishers_page(request: HttpRequest) -> HttpResponse:
    """Lead to the current publisher, or whoever has none to founding one, where they may."""
    membership = current_membership(request)
    if membership is not None:
        return redirect("publisher", membership.publisher.uid)
    assert request.user.is_authenticated
    if may_found(request.user):
        return redirect("publisher-new")
    return render(request, "accounts/no_publisher.html")


@signed_in("GET", "HEAD", "POST")
def new_publisher_page(request: HttpRequest) -> HttpResponse:
    assert request.user.is_authenticated
    if not may_found(request.user):
        return render(request, "accounts/no_publisher.html", status=403)
    form = PublisherForm(request.POST or None, user=request.user, actor=person(request))
    if request.method == "POST" and form.is_valid():
        choose(request, form.outcome)
        messages.success(request, f"{form.outcome} is set up.")
        return redirect("publisher", form.outcome.uid)
    return render(request, "accounts/new_publisher.html", {"form": form, "first": not memberships(request)})


@publisher_page(EVERY_ROLE, "GET", "HEAD", "POST")
def settings_page(request: HttpRequest, asker: Asker) -> HttpResponse:
    """Show a publisher to its members; owners change it."""
    initial = {"name": asker.publisher.name, "time_zone": asker.publisher.time_zone}
    if request.method == "POST" and not asker.is_owner:
        raise PermissionDenied("Only owners change this.")
    form = PublisherForm(
        request.POST or None, initial=initial, user=asker.user, actor=asker.actor, publisher=asker.publisher
    )
    if request.method == "POST" and form.is_valid():
        messages.success(request, "Saved.")
        return redirect("publisher", asker.publisher.uid)
    return render(
        request, "accounts/publisher.html", {"asker": asker, "form": form, "may_found": may_found(asker.user)}
    )


@publisher_page(EVERY_ROLE, "GET", "HEAD", "POST")
def leave_page(request: HttpRequest, asker: Asker) -> HttpResponse:
    """Ask, then end one's own membership."""
    if asker.membership is None:
        raise NotFoundError("not_a_member", "You are not a member of this publisher.")
    if request.method == "POST":
        try:
            leave(asker.publisher, by=asker.user, actor=asker.actor)
        except ConflictError as error:
            messages.error(request, error.detail)
            return redirect("publisher", asker.publisher.uid)
        messages.success(request, f"You are no longer a member of {asker.publisher}.")
        return redirect("publishers")
    return render(request, "accounts/leave.html", {"asker": asker})


@signed_in("POST")
def switch_page(request: HttpRequest) -> HttpResponse:
    """Work for another publisher, and go on where the form stood."""
    wanted = request.POST.get("publisher", "")
    for membership in memberships(request):
        if membership.publisher.uid == wanted:
            choose(request, membership.publisher)
            where = request.POST.get("next", "")
            if url_has_allowed_host_and_scheme(where, allowed_hosts=None):
                return HttpResponseRedirect(where)
            return redirect("publisher", wanted)
    raise NotFoundError("publisher_not_found", "There is no such publisher.")
