from __future__ import annotations

import datetime
from collections.abc import Collection
from typing import Any

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class IssueState(models.TextChoices):
    """The life of an issue; `docs/states.md` says who moves it from each state.

    `draft` and `scheduled` may be edited; `sending` and `paused` differ only in the gate's answer;
    `blocked` needs a human; `sent` and `cancelled` are final.
    """

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    PAUSED = "paused"
    BLOCKED = "blocked"
    SENT = "sent"
    CANCELLED = "cancelled"


class BodyFormat(models.TextChoices):
    MARKDOWN = "markdown"
    HTML = "html"


NO_FAILURES = {
    "relay_faults": 0,
    "policy_refusals": 0,
    "policy_domain": "",
    "policy_spread": False,
    "uncertain_in_a_row": 0,
    "composition_failures": 0,
    "failing_since": None,
}


class IssueQuerySet(models.QuerySet["Issue"]):
    def move(self, sources: Collection[IssueState], target: IssueState, **fields: Any) -> bool:
        """Change the state of one issue by a guarded UPDATE; False when it was in none of `sources`.

        Keeps the account of time spent sending: leaving `sending` adds the spell that ends.
        """
        if target == IssueState.SENDING:
            fields = {"resumed_at": Now(), **NO_FAILURES, "relay_trials": 0, "unread_since": None, **fields}
        elif IssueState.SENDING in sources:
            spell = models.ExpressionWrapper(Now() - models.F("resumed_at"), output_field=models.DurationField())
            fields["active_time"] = models.Case(
                models.When(state=IssueState.SENDING, then=models.F("active_time") + spell),
                default=models.F("active_time"),
            )
        fields = {"state_reason": "", "state_detail": "", "updated_at": Now(), **fields}
        return self.filter(state__in=sources).update(state=target, **fields) == 1


class Issue(models.Model):
    """One edition of a newsletter and how far its sending has come.

    `audience` counts the deliveries that fan-out has inserted; `fan_out_cursor` is the last
    subscription it looked at. `active_time` sums finished spells of sending (pauses excluded),
    the current one began at `resumed_at`. When the ledger rows of a finished issue are removed, at and after
    `archived_at`, `final_counts` keeps their number by state, and `uncertain`.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    newsletter = models.ForeignKey("newsletters.Newsletter", models.CASCADE, related_name="issues")
    created_by = models.ForeignKey("accounts.User", models.SET_NULL, null=True, blank=True, related_name="+")
    subject = models.CharField(max_length=255)
    preheader = models.CharField(max_length=255, blank=True)
    body_format = models.CharField(max_length=10, choices=BodyFormat, default=BodyFormat.MARKDOWN)
    body = models.TextField(blank=True)
    state = models.CharField(max_length=10, choices=IssueState, default=IssueState.DRAFT, editable=False)
    # Why it is paused or blocked, a stable word such as relay_refused; empty when a person paused it.
    state_reason = models.CharField(max_length=40, blank=True, editable=False)
    state_detail = models.CharField(max_length=500, blank=True, editable=False)
    scheduled_at = models.DateTimeField(null=True, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    resumed_at = models.DateTimeField(null=True, blank=True, editable=False)
    active_time = models.DurationField(default=datetime.timedelta, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True, editable=False)
    audience = models.PositiveIntegerField(default=0, editable=False)
    fan_out_cursor = models.BigIntegerField(default=0, editable=False)
    fan_out_done_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Failures in a row of all workers together, until a mail goes through; resuming begins anew.
    relay_faults = models.IntegerField(default=0, db_default=0, editable=False)
    policy_refusals = models.IntegerField(default=0, db_default=0, editable=False)
    policy_domain = models.CharField(max_length=254, blank=True, default="", db_default="", editable=False)
    policy_spread = models.BooleanField(default=False, db_default=False, editable=False)
    uncertain_in_a_row = models.IntegerField(default=0, db_default=0, editable=False)
    composition_failures = models.IntegerField(default=0, db_default=0, editable=False)
    failing_since = models.DateTimeField(null=True, blank=True, editable=False)
    # Attempts at an unproven relay that are under way or were refused for good, and when the last one was heard of.
    relay_trials = models.IntegerField(default=0, db_default=0, editable=False)
    trials_at = models.DateTimeField(null=True, blank=True, editable=False)
    # Since when no worker could read its edition; null while one can.
    unread_since = models.DateTimeField(null=True, blank=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    final_counts = models.JSONField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = IssueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=IssueState.values), name="issue_state_known"),
            models.CheckConstraint(
                condition=models.Q(body_format__in=BodyFormat.values), name="issue_body_format_known"
            ),
            models.CheckConstraint(
                condition=~models.Q(state=IssueState.SCHEDULED) | models.Q(scheduled_at__isnull=False),
                name="issue_scheduled_has_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=[IssueState.SENDING, IssueState.PAUSED, IssueState.SENT])
                | models.Q(started_at__isnull=False),
                name="issue_started_has_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=IssueState.SENT)
                | models.Q(fan_out_done_at__isnull=False, finished_at__isnull=False),
                name="issue_sent_is_complete",
            ),
            models.CheckConstraint(
                condition=models.Q(archived_at__isnull=True, final_counts__isnull=True)
                | models.Q(archived_at__isnull=False, final_counts__isnull=False, finished_at__isnull=False),
                name="issue_archived_has_counts",
            ),
        ]
        indexes = [
            models.Index(fields=["newsletter", "id"], name="issue_by_newsletter"),
            # The clock's questions: what is due to start, what is under way.
            models.Index(
                fields=["scheduled_at"], condition=models.Q(state=IssueState.SCHEDULED), name="issue_scheduled"
            ),
            models.Index(
                fields=["id"],
                condition=models.Q(started_at__isnull=False, finished_at__isnull=True),
                name="issue_under_way",
            ),
        ]

    def __str__(self) -> str:
        return self.subject

    @property
    def uid(self) -> str:
        return encode("iss", self.public_id)


class Edition(models.Model):
    """What is frozen when an issue starts: its MIME template, which every attempt fills in.

    `template` is the JSON made by `newsletters.delivery.compose`; `sha256` is its digest.
    """

    issue = models.OneToOneField("newsletters.Issue", models.CASCADE, primary_key=True, related_name="edition")
    template = models.BinaryField()
    sha256 = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"edition of issue {self.issue_id}"
