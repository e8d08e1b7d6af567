"""Transactional mails (confirmations, sender verifications, proofs), read-only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet

from accounts.admin import BaseAdmin
from newsletters.models import Notice


@admin.register(Notice)
class NoticeAdmin(BaseAdmin[Notice]):
    addable = changeable = False
    list_display = ("uid", "kind", "to_address", "state", "attempts", "last_reply", "created_at", "sent_at")
    list_filter = ("kind", "state")
    search_fields = ("to_address",)
    exclude = ("public_id", "lease_until")

    def scope(self, rows: QuerySet[Notice], publishers: QuerySet[Any, Any]) -> QuerySet[Notice]:
        return rows.filter(
            Q(subscription__newsletter__publisher__in=publishers)
            | Q(sender__publisher__in=publishers)
            | Q(issue__newsletter__publisher__in=publishers)
        )
