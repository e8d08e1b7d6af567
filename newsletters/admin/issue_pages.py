"""Pages that belong to one issue: its preview in a sandboxed frame, a proof, a schedule."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from accounts.admin import BaseAdmin
from accounts.audit import Actor, person
from core.database import database_now
from core.errors import CourantError
from newsletters.models import Issue, Subscription, SubscriptionState
from newsletters.publishing.proofing import preview, request_proof
from newsletters.publishing.sending import schedule

# The mail's own HTML runs in an origin of its own, without scripts, forms or links that lead this window away.
FRAME_POLICY = "sandbox; default-src 'none'; img-src https: data:; style-src 'unsafe-inline'; frame-ancestors 'self'"


class ProofForm(forms.Form):
    addresses = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}), help_text="One or several, separated by commas or lines."
    )

    def carry_out(self, issue: Issue, _actor: Actor) -> str:
        found = [part for part in re.split(r"[\s,;]+", self.cleaned_data["addresses"]) if part]
        sent = len(request_proof(issue, found))
        return "The proof is on its way." if sent == 1 else f"{sent} proofs are on their way."


class ScheduleForm(forms.Form):
    send_at = forms.DateTimeField(
        label="Send at", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    )

    def clean_send_at(self) -> datetime.datetime:
        send_at: datetime.datetime = self.cleaned_data["send_at"]
        # It would start at once, without the question that the Send button asks.
        if send_at < database_now():
            raise forms.ValidationError("This time has passed. To send the issue now, use Send.")
        return send_at

    def carry_out(self, issue: Issue, actor: Actor) -> str:
        send_at = self.cleaned_data["send_at"]
        schedule(issue.pk, send_at=send_at, actor=actor)
        return f"Scheduled for {send_at.day} {send_at:%B %Y, %H:%M %Z}."


def _issue(request: HttpRequest, pk: int, pages: BaseAdmin[Any], *, write: bool = False) -> Issue:
    issue: Issue | None = pages.get_queryset(request).filter(pk=pk).first()
    if issue is None:
        raise Http404
    if write and not pages.may_write(request, issue):
        raise PermissionDenied
    return issue


def _page(
    request: HttpRequest, pages: BaseAdmin[Any], issue: Issue, title: str, template: str, **context: Any
) -> HttpResponse:
    shared = {**pages.admin_site.each_context(request), "title": title, "opts": pages.opts, "issue": issue}
    return TemplateResponse(request, f"admin/courant_{template}.html", shared | {"media": pages.media} | context)


def _reader(request: HttpRequest, issue: Issue) -> Subscription | None:
    """Return the reader asked for by address, or the first active one."""
    rows = Subscription.objects.filter(newsletter_id=issue.newsletter_id).select_related("subscriber", "newsletter")
    wanted = request.GET.get("reader", "").strip().lower()
    if wanted:
        return rows.filter(subscriber__address_key=wanted).first()
    return rows.filter(state=SubscriptionState.ACTIVE).order_by("id").first()


def preview_page(request: HttpRequest, pk: int, pages: BaseAdmin[Any]) -> HttpResponse:
    issue = _issue(request, pk, pages)
    reader = _reader(request, issue)
    shown, problem = None, ""
    try:
        shown = preview(issue, reader)
    except CourantError as error:
        problem = error.detail
    if reader is None and request.GET.get("reader"):
        problem = "There is no such reader; this is what somebody unknown would get."
    return _page(request, pages, issue, "Preview", "preview", reader=reader, shown=shown, problem=problem)


def preview_frame(request: HttpRequest, pk: int, pages: BaseAdmin[Any]) -> HttpResponse:
    issue = _issue(request, pk, pages)
    try:
        response = HttpResponse(preview(issue, _reader(request, issue)).html)
    except CourantError as error:
        response = HttpResponse(error.detail, content_type="text/plain; charset=utf-8")
    response["Content-Security-Policy"] = FRAME_POLICY
    response["X-Frame-Options"] = "SAMEORIGIN"
    return response


def proof_page(request: HttpRequest, pk: int, pages: BaseAdmin[Any]) -> HttpResponse:
    issue = _issue(request, pk, pages, write=True)
    return _form_page(request, pages, issue, ProofForm(request.POST or None), "Send a proof")


def schedule_page(request: HttpRequest, pk: int, pages: BaseAdmin[Any]) -> HttpResponse:
    issue = _issue(request, pk, pages, write=True)
    zone = issue.newsletter.publisher.time_zone
    with timezone.override(zoneinfo.ZoneInfo(zone)):
        form = ScheduleForm(request.POST or None)
        form.fields["send_at"].help_text = f"In the publisher's time zone, {zone}."
        response = _form_page(request, pages, issue, form, "Schedule")
        return response.render() if isinstance(response, TemplateResponse) else response


def _form_page(
    request: HttpRequest, pages: BaseAdmin[Any], issue: Issue, form: ProofForm | ScheduleForm, title: str
) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        try:
            messages.success(request, form.carry_out(issue, person(request)))
            return HttpResponseRedirect(reverse("admin:newsletters_issue_change", args=[issue.pk]))
        except CourantError as error:
            for sentence in [part.detail for part in error.errors] or [error.detail]:
                form.add_error(None, sentence)
    return _page(request, pages, issue, title, "issue_form", form=form)
