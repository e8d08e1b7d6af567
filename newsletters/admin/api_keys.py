"""API keys: made here, shown once, revoked here. Only owners."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts.admin import BaseAdmin, JourneyForm, Step
from accounts.keys import revoke
from accounts.models import ApiKey, Role, Scope
from newsletters.models import Newsletter
from newsletters.publishing.keys import create_key

MAX_DAYS = 3650
NEWSLETTERS = "Those that it is for. None chosen: all, future ones too, and what they share."


class ApiKeyForm(JourneyForm[ApiKey]):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in Scope.values], widget=forms.CheckboxSelectMultiple
    )
    days = forms.IntegerField(
        label="Valid for days", required=False, min_value=1, max_value=MAX_DAYS, help_text="Empty: until it is revoked."
    )
    # Which there are to choose from depends on who asks.
    newsletters = forms.ModelMultipleChoiceField(
        Newsletter.objects.none(), required=False, widget=forms.CheckboxSelectMultiple, help_text=NEWSLETTERS
    )
    # The key itself, there only while the answer to its creation is written.
    text = ""

    class Meta:
        model = ApiKey
        fields = ("publisher", "name")

    def carry_out(self) -> ApiKey:
        given = self.cleaned_data
        key, self.text = create_key(
            given["publisher"],
            name=given["name"],
            scopes=given["scopes"],
            expires_in=timedelta(days=given["days"]) if given["days"] else None,
            newsletters=list(given["newsletters"]) or None,
            created_by=self.user,
            actor=self.actor,
        )
        return key

    def save(self, commit: bool = True) -> ApiKey:
        key = super().save(commit)
        key.__dict__["text"] = self.text
        return key


@admin.register(ApiKey)
class ApiKeyAdmin(BaseAdmin[ApiKey]):
    form = ApiKeyForm
    writers = frozenset({Role.OWNER})
    list_display = (
        "name",
        "prefix",
        "publisher",
        "scope_list",
        "newsletter_list",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    )
    list_select_related = ("publisher",)
    search_fields = ("name", "prefix")
    steps = (
        Step(
            name="revoke",
            label="Revoke…",
            done="revoked.",
            run_as=lambda key, actor: revoke(key, actor=actor),
            question="Revoke these keys? Programs that use them are refused from their next request on.",
            shown=lambda key: key.revoked_at is None,
            danger=True,
        ),
    )

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("publisher", "name", "scopes", "newsletters", "days")
        times = ("created_by", "created_at", "expires_at", "last_used_at", "revoked_at")
        return ("uid", "publisher", "name", "prefix", "scope_list", "newsletter_list", *times)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return () if obj is None else self.get_fields(request, obj)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ApiKey]:
        return super().get_queryset(request).prefetch_related("limits__newsletter")

    def get_form(self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if "newsletters" in form.base_fields:
            # Of this form class alone: the field itself belongs to all requests.
            field = copy.deepcopy(form.base_fields["newsletters"])
            field.queryset = self.admin_site.get_model_admin(Newsletter).get_queryset(request)
            form.base_fields["newsletters"] = field
        return form

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Answer with the key itself, on a page that is neither stored nor reachable again."""
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Your new API key",
            "opts": self.opts,
            "key": obj,
            "text": obj.__dict__["text"],
            "media": self.media,
        }
        return TemplateResponse(request, "admin/courant_new_key.html", context)

    @admin.display(description="scopes")
    def scope_list(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="newsletters")
    def newsletter_list(self, key: ApiKey) -> str:
        names = ", ".join(str(limit.newsletter) for limit in key.limits.all())
        return names or "none any more" if key.limited else "all"
