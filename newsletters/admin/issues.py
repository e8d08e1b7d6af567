"""Issues: writing them, sending them, and how far each has come."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.admin import BaseAdmin, JourneyForm
from newsletters.admin.filters import NewsletterFilter
from newsletters.admin.issue_pages import preview_frame, preview_page, proof_page, schedule_page
from newsletters.admin.issue_steps import STEPS
from newsletters.models import Issue, IssueState
from newsletters.publishing.editing import create_issue, update_issue
from newsletters.publishing.progress import Progress, measure

WRITTEN = ("subject", "preheader", "body_format", "body")
EDITABLE_STATES = (IssueState.DRAFT, IssueState.SCHEDULED)
CLOSED_STATES = ("sent", "bounced", "expired", "suppressed", "cancelled", "held")
ACCOUNTED = ("queued", "sending", *CLOSED_STATES)


class IssueForm(JourneyForm[Issue]):
    class Meta:
        model = Issue
        fields = ("newsletter", *WRITTEN)
        widgets = {"body": forms.Textarea(attrs={"rows": 24, "cols": 80, "class": "vLargeTextField body-editor"})}
        help_texts = {
            "preheader": "The line that mail programs show after the subject.",
            "body": (
                'Merge tags: {{ subscriber.name | default: "reader" }}, {{ subscriber.city }} or any other attribute,'
                " {{ unsubscribe_url }}."
            ),
        }

    def carry_out(self) -> Issue:
        written = {name: self.cleaned_data[name] for name in WRITTEN}
        if self.instance.pk is None:
            return create_issue(self.cleaned_data["newsletter"], **written, created_by=self.user)
        return update_issue(Issue.objects.get(pk=self.instance.pk), **written)


def accounting(progress: Progress) -> str:
    """Return the equation as a line, such as "1,000 = 2 queued + 998 sent"."""
    parts = [(getattr(progress, name), name) for name in ACCOUNTED]
    filled = " + ".join(f"{count:,} {name}" for count, name in parts if count)
    return f"{progress.audience:,} = {filled or 0}"


@admin.register(Issue)
class IssueAdmin(BaseAdmin[Issue]):
    form = IssueForm
    publisher_path = "newsletter__publisher"
    limit_path = "newsletter__member_limits__membership"
    list_display = ("subject", "newsletter", "state_shown", "bar", "accounting", "started_at")
    list_filter = (NewsletterFilter, "state")
    list_select_related = ("newsletter__publisher",)
    list_per_page = 20
    search_fields = ("subject",)
    steps = STEPS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Issue]:
        return super().get_queryset(request).filter(newsletter__deleted_at__isnull=True)

    def has_change_permission(self, request: HttpRequest, obj: Issue | None = None) -> bool:
        if obj is not None and obj.state not in EDITABLE_STATES:
            return False
        return super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Issue | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("newsletter", *WRITTEN)
        times = ("scheduled_at", "started_at", "finished_at", *(("archived_at",) if obj.archived_at else ()))
        shown = ("state_shown", "bar", "accounting", "rate", *times) if obj.started_at else ("state_shown", *times[:1])
        return ("uid", "newsletter", *shown, *WRITTEN)

    def get_readonly_fields(self, request: HttpRequest, obj: Issue | None = None) -> tuple[str, ...]:
        return () if obj is None else tuple(f for f in self.get_fields(request, obj) if f not in WRITTEN)

    def links(self, request: HttpRequest, obj: Issue) -> list[tuple[str, str]]:
        links = [("Preview", reverse("admin:newsletters_issue_preview", args=[obj.pk]))]
        if obj.state in EDITABLE_STATES and self.may_write(request, obj):
            links.append(("Send a proof", reverse("admin:newsletters_issue_proof", args=[obj.pk])))
            links.append(("Schedule", reverse("admin:newsletters_issue_schedule", args=[obj.pk])))
        if obj.started_at and not obj.archived_at:
            deliveries = f"{reverse('admin:newsletters_delivery_changelist')}?issue={obj.pk}"
            links.append(("Deliveries", deliveries))
            progress = self.progress(obj)
            if progress is not None and progress.held:
                links.append((f"{progress.held:,} held: decide", f"{deliveries}&needs=decision"))
            if progress is not None and progress.uncertain:
                links.append((f"{progress.uncertain:,} uncertain", f"{deliveries}&uncertain__exact=1"))
        return links

    def get_urls(self) -> list[URLPattern]:
        pages = {"preview": preview_page, "frame": preview_frame, "proof": proof_page, "schedule": schedule_page}
        own = [
            path(
                f"<int:pk>/{name}/",
                self.admin_site.admin_view(page),
                {"pages": self},
                name=f"newsletters_issue_{name}",
            )
            for name, page in pages.items()
        ]
        return own + super().get_urls()

    # --- columns ----------------------------------------------------------------
    def progress(self, issue: Issue) -> Progress | None:
        """Measure once for each row object, however many columns ask."""
        if issue.started_at is None:
            return None
        known: Progress | None = issue.__dict__.get("_progress")
        if known is None:
            known = issue.__dict__["_progress"] = measure(issue)
        return known

    @admin.display(description="state", ordering="state")
    def state_shown(self, issue: Issue) -> SafeString:
        why = issue.state_detail or issue.state_reason
        return format_html(
            '<span class="state state-{}">{}</span>{}', issue.state, issue.state, f" {why}" if why else ""
        )

    @admin.display(description="progress")
    def bar(self, issue: Issue) -> SafeString | str:
        progress = self.progress(issue)
        if progress is None:
            return ""
        closed = sum(getattr(progress, name) for name in CLOSED_STATES)
        share = closed * 100 // progress.audience if progress.audience else 0
        return format_html(
            '<progress max="{}" value="{}">{} %</progress> {} %', progress.audience or 1, closed, share, share
        )

    @admin.display(description="accounting")
    def accounting(self, issue: Issue) -> SafeString | str:
        progress = self.progress(issue)
        if progress is None:
            return ""
        # In whatever state: not "of the held", which are named last.
        uncertain = f"; {progress.uncertain:,} of the {progress.audience:,} uncertain" if progress.uncertain else ""
        if progress.fan_out_complete and not progress.accounted:
            return format_html('<strong class="unaccounted">{}{}</strong>', accounting(progress), uncertain)
        return accounting(progress) + uncertain

    @admin.display(description="rate")
    def rate(self, issue: Issue) -> str:
        progress = self.progress(issue)
        if progress is None or progress.rate_per_second is None:
            return ""
        left = f", about {progress.eta_seconds:,} s left" if progress.eta_seconds else ""
        return f"{progress.rate_per_second:,.0f} a second{left}"

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in {"subject", "preheader"}:
            field.widget.attrs["class"] = "vLargeTextField"
        return field
