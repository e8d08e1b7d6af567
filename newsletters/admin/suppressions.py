"""Addresses that get no mail any more, known by a digest only."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin import BaseAdmin, JourneyForm
from core.addresses import canonical
from core.errors import CourantError
from newsletters.audience.suppressing import suppress
from newsletters.models import Suppression, SuppressionReason


class SuppressionForm(JourneyForm[Suppression]):
    address = forms.CharField(max_length=254, help_text="It is stored as a digest and cannot be read back.")

    class Meta:
        model = Suppression
        fields = ("publisher",)

    def carry_out(self) -> Suppression:
        publisher = self.cleaned_data["publisher"]
        digest = canonical(self.cleaned_data["address"]).digest
        suppress(publisher.pk, digest, SuppressionReason.MANUAL)
        return Suppression.objects.get(publisher=publisher, address_digest=digest)


@admin.register(Suppression)
class SuppressionAdmin(BaseAdmin[Suppression]):
    changeable = False
    list_display = ("id", "publisher", "reason", "digest", "created_at")
    list_filter = ("reason",)
    list_select_related = ("publisher",)
    search_fields = ("address_digest",)
    search_help_text = "A whole address."
    readonly_fields = ("digest", "created_at")

    def get_fields(self, request: HttpRequest, obj: Suppression | None = None) -> tuple[str, ...]:
        return ("publisher", "address") if obj is None else ("publisher", "reason", "digest", "created_at")

    def get_form(
        self, request: HttpRequest, obj: Suppression | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is None:
            kwargs |= {"form": SuppressionForm, "fields": ("publisher", "address")}
        return super().get_form(request, obj, change, **kwargs)

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Suppression],
        search_term: str,
    ) -> tuple[QuerySet[Suppression], bool]:
        if not search_term.strip():
            return queryset, False
        try:
            return queryset.filter(address_digest=canonical(search_term).digest), False
        except CourantError:
            return queryset.none(), False

    @admin.display(description="digest")
    def digest(self, row: Suppression) -> str:
        return bytes(row.address_digest).hex()[:16] + "…"
