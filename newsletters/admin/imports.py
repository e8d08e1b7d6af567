"""Imports: the upload, its counts, and why rows were left out."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.admin import BaseAdmin, JourneyForm
from newsletters.admin.filters import NewsletterFilter
from newsletters.audience.importing import accept
from newsletters.models import Import

SHOWN_ERRORS = 200
COUNTS = ("total", "rows_read", "added", "already_present", "duplicates", "refused", "invalid")


class ImportForm(JourneyForm[Import]):
    file = forms.FileField(
        label="CSV file",
        help_text="UTF-8, with a header that has an “email” column; “name” and other columns become attributes.",
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    class Meta:
        model = Import
        fields = ("newsletter", "consent_source")
        help_texts = {"consent_source": "How these readers agreed, such as “paper list, fair of May 2026”."}

    def carry_out(self) -> Import:
        return accept(
            self.cleaned_data["newsletter"],
            self.cleaned_data["file"],
            consent_source=self.cleaned_data["consent_source"],
            created_by=self.user,
        )


@admin.register(Import)
class ImportAdmin(BaseAdmin[Import]):
    form = ImportForm
    publisher_path = "newsletter__publisher"
    limit_path = "newsletter__member_limits__membership"
    list_display = ("uid", "newsletter", "state", *COUNTS[:1], *COUNTS[2:], "created_at")
    list_filter = (NewsletterFilter, "state")
    list_select_related = ("newsletter",)

    def has_change_permission(self, request: HttpRequest, obj: Import | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Import | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("newsletter", "file", "consent_source")
        return (
            "uid",
            "newsletter",
            "consent_source",
            "created_by",
            "state",
            "failure",
            *COUNTS,
            "finished_at",
            "problems",
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Import | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    @admin.display(description="rows read")
    def rows_read(self, row: Import) -> int:
        return row.cursor

    @admin.display(description="rows left out")
    def problems(self, row: Import) -> SafeString | str:
        errors = row.row_errors.order_by("line").values_list("line", "detail")[:SHOWN_ERRORS]
        return format_html_join("", '<p class="row-error">Line {}: {}</p>', errors) or "None"
