"""Domains of readers that are closed, limited, or were so lately."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.timezone import localtime

from accounts.admin import BaseAdmin, JourneyForm, Step
from newsletters.delivery.destinations import CLOSED, OPEN
from newsletters.delivery.window import CAP
from newsletters.models import Destination
from newsletters.publishing.destinations import (
    MOST_CONCURRENCY,
    forget_destination,
    limit_destination,
    reopen,
    update_destination,
)

FACTS = ("window", "opens", "closed_seconds", "last_reply", "last_closed_at", "created_at", "updated_at")


class DestinationForm(JourneyForm[Destination]):
    max_concurrency = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_CONCURRENCY,
        widget=AdminIntegerFieldWidget,
        help_text=f"Mails under way to it at once, from all workers together; {CAP} when empty.",
    )

    class Meta:
        model = Destination
        fields = ("publisher", "domain", "max_concurrency")
        help_texts = {"domain": "The part of readers' addresses after the @."}

    def carry_out(self) -> Destination:
        given = self.cleaned_data
        if self.instance.pk is None:
            return limit_destination(
                given["publisher"], domain=given["domain"], max_concurrency=given["max_concurrency"]
            )
        if "max_concurrency" in self.changed_data:
            update_destination(self.instance, max_concurrency=given["max_concurrency"])
        return Destination.objects.get(pk=self.instance.pk)


class ClosedFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("closed", "closed"), ("open", "open")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = {"closed": CLOSED, "open": OPEN}.get(self.value() or "")
        return queryset if wanted is None else queryset.filter(wanted)


@admin.register(Destination)
class DestinationAdmin(BaseAdmin[Destination]):
    form = DestinationForm
    list_display = ("domain", "publisher", "limit", "window", "opens", "last_reply")
    list_filter = (ClosedFilter,)
    list_select_related = ("publisher",)
    search_fields = ("domain",)
    steps = (
        Step(
            name="reopen",
            label="Reopen now",
            done="open; workers try one mail at first.",
            run=reopen,
            shown=lambda destination: destination.closed_seconds > 0,
        ),
        Step(
            name="forget",
            label="Forget…",
            done="forgotten.",
            run=forget_destination,
            question="Forget these destinations? Their limits and closures end.",
            danger=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        return super().get_queryset(request).annotate(closed=CLOSED)

    def get_fields(self, request: HttpRequest, obj: Destination | None = None) -> tuple[str, ...]:
        own = ("publisher", "domain", "max_concurrency")
        return own if obj is None else ("uid", *own, *FACTS)

    def get_readonly_fields(self, request: HttpRequest, obj: Destination | None = None) -> tuple[str, ...]:
        return () if obj is None else ("uid", "publisher", "domain", *FACTS)

    @admin.display(description="limit", ordering="max_concurrency")
    def limit(self, row: Destination) -> int:
        return row.max_concurrency or CAP

    @admin.display(description="closed until", ordering="closed_until")
    def opens(self, row: Any) -> str:
        return str(localize(localtime(row.closed_until))) if row.closed else "open"
