"""The ledger: who got what, what the relay said, and what a person must decide."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.text import Truncator

from accounts.admin import BaseAdmin
from newsletters.admin.delivery_steps import STEPS
from newsletters.admin.filters import IssueFilter, NeedsFilter
from newsletters.delivery.message_ids import message_id
from newsletters.models import Delivery, DeliveryState

SHOWN_SUBJECT = 40


@admin.register(Delivery)
class DeliveryAdmin(BaseAdmin[Delivery]):
    publisher_path = "issue__newsletter__publisher"
    limit_path = "issue__newsletter__member_limits__membership"
    addable = changeable = False
    steps = STEPS
    list_display = ("address", "state", "attempts", "last_reply", "doubt", "settled_at", "issue_subject")
    list_filter = (NeedsFilter, IssueFilter, "state", "uncertain")
    list_select_related = ("issue", "subscription__subscriber")
    search_fields = ("subscription__subscriber__address_key",)
    search_help_text = "An address, or how it begins."
    fields = (
        "uid",
        "issue",
        "address",
        "state",
        "reason",
        "attempts",
        "message_id",
        "last_reply",
        "doubt",
        "uncertain_outcomes",
        "kills",
        "next_attempt",
        "intent_at",
        "created_at",
        "settled_at",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        # What is left of an archived issue's rows is on its way out. The issue's text would come once for each row.
        return super().get_queryset(request).filter(issue__archived_at__isnull=True).defer("issue__body")

    def get_search_results(
        self,
        request: HttpRequest,
        queryset: QuerySet[Delivery],
        search_term: str,
    ) -> tuple[QuerySet[Delivery], bool]:
        term = search_term.strip().lower()
        if not term:
            return queryset, False
        # A whole address and a beginning can both use the index; "contains" would read every reader.
        lookup = "" if "@" in term else "__startswith"
        # The ledger's index begins with the issue.
        readers = queryset.filter(issue__newsletter=F("subscription__newsletter"))
        return readers.filter(**{f"subscription__subscriber__address_key{lookup}": term}), False

    @admin.display(description="reader")
    def address(self, row: Delivery) -> str:
        return row.subscription.subscriber.address if row.subscription else "erased"

    @admin.display(description="Message-ID")
    def message_id(self, row: Delivery) -> str:
        return message_id(row) or "not known"

    @admin.display(description="next attempt")
    def next_attempt(self, row: Delivery) -> str:
        return display_for_value(row.next_at if row.state == DeliveryState.QUEUED else None, "-")

    @admin.display(description="issue")
    def issue_subject(self, row: Delivery) -> str:
        return Truncator(row.issue.subject).chars(SHOWN_SUBJECT)

    @admin.display(description="uncertain")
    def doubt(self, row: Delivery) -> str:
        # Django's red cross for "no" would say that something is wrong.
        return "uncertain" if row.uncertain else ""

    @admin.display(description="last reply")
    def last_reply(self, row: Delivery) -> str:
        # Most relays begin the text with the status.
        status = "" if (row.reply_text or "").startswith(row.reply_status or "") else row.reply_status
        parts = [row.reply_phase, row.reply_code, status, row.reply_text]
        return " ".join(str(part) for part in parts if part) or (row.reason or "")
