"""List filters whose choices are limited to what the user may see and which never scan a big table."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import BaseAdmin
from newsletters.models import DeliveryState, Issue, Newsletter

RECENT_ISSUES = 30
MAX_DIGITS = 18  # of a 64-bit number


def _visible(page: Any, model: type[Any], request: HttpRequest) -> QuerySet[Any]:
    related = page.admin_site.get_model_admin(model)
    assert isinstance(related, BaseAdmin)
    rows: QuerySet[Any] = related.get_queryset(request)
    return rows


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS else None


class NewsletterFilter(admin.SimpleListFilter):
    """By newsletter; `path` leads from the model to it."""

    title = "newsletter"
    parameter_name = "newsletter"
    path = "newsletter_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = _visible(model_admin, Newsletter, request).order_by("name")
        return [(str(pk), name) for pk, name in rows.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = _number(self.value())
        if chosen is None:
            return queryset
        # A reader of one's newsletter may be one of another, which is for others to know.
        known = str(chosen) in dict(self.lookup_choices)
        return queryset.filter(**{self.path: chosen}) if known else queryset.none()


class SubscribedTo(NewsletterFilter):
    title = "subscribed to"
    path = "subscriptions__newsletter_id"


class IssueFilter(admin.SimpleListFilter):
    """By issue: the latest ones, and the one asked for by address whatever its age."""

    title = "issue"
    parameter_name = "issue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        rows = _visible(model_admin, Issue, request).exclude(started_at=None).order_by("-id")
        choices = [(str(pk), subject) for pk, subject in rows.values_list("pk", "subject")[:RECENT_ISSUES]]
        chosen = _number(request.GET.get("issue"))
        if chosen is not None and str(chosen) not in dict(choices):
            choices += [(str(pk), subject) for pk, subject in rows.filter(pk=chosen).values_list("pk", "subject")]
        return choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        chosen = _number(self.value())
        return queryset if chosen is None else queryset.filter(issue_id=chosen)


class NeedsFilter(admin.SimpleListFilter):
    """Deliveries that wait for a person."""

    title = "what needs a person"
    parameter_name = "needs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("decision", "waits for a decision")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=DeliveryState.HELD) if self.value() == "decision" else queryset
