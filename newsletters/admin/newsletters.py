"""Newsletters: a publication's name, sender and policy."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from accounts.admin import BaseAdmin, JourneyForm, Step
from accounts.current import limited_membership
from newsletters.models import Newsletter
from newsletters.publishing.newsletters import create_newsletter, delete_newsletter, update_newsletter

EDITABLE = (
    "name",
    "slug",
    "description",
    "from_address",
    "from_name",
    "reply_to",
    "postal_address",
    "opt_in",
    "on_uncertain",
)


class NewsletterForm(JourneyForm[Newsletter]):
    from_address = forms.CharField(
        max_length=254,
        widget=forms.EmailInput(attrs={"class": "vTextField"}),
        help_text="A new address gets a mail with a link; nothing is sent in its name before that link is opened.",
    )

    class Meta:
        model = Newsletter
        fields = ("publisher", *(name for name in EDITABLE if name != "from_address"))
        help_texts = {
            "slug": "Lower-case letters, digits and hyphens; part of addresses and of the List-Id header.",
            "reply_to": "Where answers go; the sender's address when empty.",
            "postal_address": "Stands in the footer of each mail, as the law of most countries asks.",
            "on_uncertain": "What happens when a connection breaks after a mail was handed over and before the answer.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.initial["from_address"] = self.instance.sender.address

    def carry_out(self) -> Newsletter:
        # Whoever is limited to newsletters is not asked for the address, which belongs to all.
        fields = {name: self.cleaned_data[name] for name in EDITABLE if name in self.cleaned_data}
        if self.instance.pk is None:
            return create_newsletter(self.cleaned_data["publisher"], **fields)
        changed = {name: value for name, value in fields.items() if name in self.changed_data}
        return update_newsletter(Newsletter.objects.get(pk=self.instance.pk), **changed)


@admin.register(Newsletter)
class NewsletterAdmin(BaseAdmin[Newsletter]):
    form = NewsletterForm
    limit_path = "member_limits__membership"
    list_display = ("name", "publisher", "slug", "sender", "opt_in", "created_at")
    list_select_related = ("publisher", "sender")
    search_fields = ("name", "slug")
    steps = (
        Step(
            name="delete_newsletter",
            label="Delete…",
            done="deleted.",
            run=delete_newsletter,
            question="Delete these newsletters with their issues, subscriptions and accounting?",
            danger=True,
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Newsletter]:
        return super().get_queryset(request).filter(deleted_at__isnull=True)

    def get_fields(self, request: HttpRequest, obj: Newsletter | None = None) -> tuple[str, ...]:
        return ("publisher", *EDITABLE) if obj is None else ("uid", "publisher", *EDITABLE, "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Newsletter | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        # Senders belong to all newsletters: who is limited to some does not choose another.
        return ("uid", "publisher", "created_at", *(("from_address",) if limited_membership(request) else ()))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return limited_membership(request) is None and super().has_add_permission(request)

    @admin.display(description="from address")
    def from_address(self, newsletter: Newsletter) -> str:
        return newsletter.sender.address

    def links(self, request: HttpRequest, obj: Newsletter) -> list[tuple[str, str]]:
        pages = {"Issues": "issue", "Imports": "import", "Readers": "subscriber"}
        return [
            (label, f"{reverse(f'admin:newsletters_{name}_changelist')}?newsletter={obj.pk}")
            for label, name in pages.items()
        ]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and db_field.name in {"description", "postal_address"}:
            field.widget.attrs["class"] = "vLargeTextField"
        return field
