"""Transactional mails (confirmations, sender verifications, proofs), read-only."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet

from accounts.admin import BaseAdmin
from accounts.models import Membership
from newsletters.models import Newsletter, Notice


@admin.register(Notice)
class NoticeAdmin(BaseAdmin[Notice]):
    addable = changeable = False
    limit_path = "subscription__newsletter__member_limits__membership"
    list_display = ("uid", "kind", "to_address", "state", "attempts", "last_reply", "created_at", "sent_at")
    list_filter = ("kind", "state")
    search_fields = ("to_address",)
    exclude = ("public_id", "lease_until")

    def scope(self, rows: QuerySet[Notice], membership: Membership) -> QuerySet[Notice]:
        publisher = membership.publisher_id
        return rows.filter(
            Q(subscription__newsletter__publisher=publisher)
            | Q(sender__publisher=publisher)
            | Q(issue__newsletter__publisher=publisher)
        )

    def scope_limited(self, rows: QuerySet[Notice], membership: Membership) -> QuerySet[Notice]:
        # Not the verifications of senders, which belong to all newsletters.
        newsletters = Newsletter.objects.filter(member_limits__membership=membership)
        return rows.filter(Q(subscription__newsletter__in=newsletters) | Q(issue__newsletter__in=newsletters))
