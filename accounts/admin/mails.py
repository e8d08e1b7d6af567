"""Mails about accounts, read-only and for superusers: they are about people, and not of one publisher."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.admin.base import BaseAdmin
from accounts.models import AccountMail, Membership


@admin.register(AccountMail)
class AccountMailAdmin(BaseAdmin[AccountMail]):
    addable = changeable = False
    list_display = ("to_address", "kind", "state", "doubt", "attempts", "last_reply", "created_at", "sent_at")
    list_filter = ("kind", "state", "uncertain")
    search_fields = ("to_address",)
    # Neither what a link hangs on, nor what only workers use.
    fields = ("uid", *list_display, "kills", "next_at", "user", "invitation", "detail")
    readonly_fields = fields

    @admin.display(description="uncertain")
    def doubt(self, row: AccountMail) -> str:
        # Django's red cross for "no" would say that something is wrong.
        return "uncertain" if row.uncertain else ""

    def scope(self, rows: QuerySet[AccountMail], membership: Membership) -> QuerySet[AccountMail]:
        return rows.none()

    def has_view_permission(self, request: HttpRequest, obj: AccountMail | None = None) -> bool:
        return request.user.is_active and request.user.is_superuser
