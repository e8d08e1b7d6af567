"""Who works, and what waits in vain: the clock, couriers, issues, deliveries, other mails and imports.

All ages are taken on the database's clock.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from accounts.models import AccountMail
from core.models import ClockLease, MailState, QueuedMail
from newsletters.delivery.roster import FRESH_SECONDS
from newsletters.doctor.findings import Finding, Level, Terms, error, note, ok, quote, warning
from newsletters.models import (
    ActiveCourier,
    Delivery,
    DeliveryState,
    Import,
    Issue,
    IssueState,
    Notice,
)
from newsletters.models.audience_import import ImportState

M = TypeVar("M", bound=QueuedMail)
LATE = datetime.timedelta(minutes=5)
FAN_OUT_LATE = datetime.timedelta(minutes=30)
RECENT = datetime.timedelta(days=7)
SHOWN = 5
COUNTED = 10_000


def processes(_terms: Terms) -> Iterator[Finding]:
    """Look for the clock's holder and the couriers."""
    lease = ClockLease.objects.filter(pk=1).annotate(now=Now()).first()
    couriers = ActiveCourier.objects.filter(seen_at__gt=Now() - datetime.timedelta(seconds=FRESH_SECONDS)).count()
    if lease is not None and lease.holder is not None and lease.until > lease.now:
        left = (lease.until - lease.now).total_seconds()
        yield ok("work.clock", f"The clock is held for {left:.0f} s more by the process {lease.holder}.")
    elif _something_waits():
        yield error(
            "work.no_clock",
            "No worker keeps the clock, and work is waiting: nothing is sent.",
            "python manage.py worker",
        )
    else:
        yield warning("work.no_clock", "No worker keeps the clock: nothing would be sent.", "python manage.py worker")
    if couriers:
        lanes = couriers * settings.DELIVERY_LANES
        yield ok(
            "work.couriers",
            f"{couriers} worker process(es) deliver, over at most {lanes} connections to the relay in all.",
        )
    if couriers > 1 and urlsplit(settings.BROKER_URL).scheme == "memory":
        yield warning(
            "work.memory_broker_shared",
            f"{couriers} worker processes run with a broker in memory: only the one with the clock is ever woken.",
            "Set BROKER_URL to RabbitMQ or Redis, or stop all workers but one.",
        )


def _something_waits() -> bool:
    issues = Q(state=IssueState.SENDING) | Q(state=IssueState.SCHEDULED, scheduled_at__lt=Now())
    return (
        Issue.objects.filter(issues).exists()
        or Notice.objects.filter(state__in=[MailState.QUEUED, MailState.SENDING]).exists()
        or AccountMail.objects.filter(state__in=[MailState.QUEUED, MailState.SENDING]).exists()
        or Import.objects.filter(state__in=[ImportState.QUEUED, ImportState.RUNNING]).exists()
    )


def issues(_terms: Terms) -> Iterator[Finding]:
    """Look for issues that were stopped, are overdue or do not move."""
    stopped = Issue.objects.filter(state__in=[IssueState.PAUSED, IssueState.BLOCKED]).order_by("-pk")
    for issue in stopped[:SHOWN]:
        if issue.state_reason or issue.state == IssueState.BLOCKED:
            yield warning(
                "work.issue_stopped",
                f"The issue {issue.uid} is {issue.state}: {issue.state_reason} {quote(issue.state_detail)}".rstrip(),
                "Mend what this names, then resume the issue in the admin or the API.",
            )
        else:
            yield note("work.issue_paused", f"The issue {issue.uid} was paused by a person.", "Resume or cancel it.")
    overdue = Issue.objects.filter(state=IssueState.SCHEDULED, scheduled_at__lt=Now() - LATE)
    for issue in overdue[:SHOWN]:
        yield warning(
            "work.issue_overdue",
            f"The issue {issue.uid} should have started at {issue.scheduled_at:%Y-%m-%d %H:%M} UTC.",
            "See that workers run and reach the broker; it starts by itself then.",
        )
    slow = Issue.objects.filter(state=IssueState.SENDING, fan_out_done_at=None, started_at__lt=Now() - FAN_OUT_LATE)
    for issue in slow[:SHOWN]:
        yield warning(
            "work.fan_out_slow",
            f"The issue {issue.uid} has {issue.audience:,} deliveries and its list is not complete after 30 minutes.",
            "Look for fan_out in the workers' log.",
        )
    stuck = list(_stuck()[:SHOWN])
    for issue in stuck:
        yield warning(
            "work.issue_stuck",
            f"The issue {issue.uid} has mails that have been due for 5 minutes, and no worker has one in hand.",
            "See that workers run, reach the broker and the relay; look for its number in their log.",
        )
    under_way = Issue.objects.filter(state=IssueState.SENDING).count()
    if not stuck:
        yield ok("work.issues", f"{under_way} issue(s) are being sent.")


def _stuck() -> list[Issue]:
    rows = Delivery.objects.filter(issue=OuterRef("pk"))
    due = rows.filter(state=DeliveryState.QUEUED, next_at__lt=Now() - LATE)
    dead = rows.filter(state=DeliveryState.SENDING, lease_until__lt=Now() - LATE)
    in_hand = rows.filter(state=DeliveryState.SENDING, lease_until__gt=Now())
    waiting = (Exists(due) | Exists(dead)) & ~Exists(in_hand)
    # After a resume, rows that were due all the while are given their time.
    return list(Issue.objects.filter(waiting, state=IssueState.SENDING, resumed_at__lt=Now() - LATE)[:SHOWN])


def deliveries(_terms: Terms) -> Iterator[Finding]:
    """Look for deliveries that wait for a person, and those of which two copies may have gone out."""
    held = Delivery.objects.filter(state=DeliveryState.HELD)[:COUNTED].count()
    if held:
        yield warning(
            "work.held",
            f"{_many(held)} deliveries are held and wait for a decision.",
            "Look at their last reply in the admin (Deliveries, state held) or the API; resend, accept or drop each.",
        )
    else:
        yield ok("work.held", "No delivery waits for a decision.")
    open_issues = Issue.objects.filter(started_at__isnull=False, finished_at=None)
    uncertain = Delivery.objects.filter(issue__in=open_issues, uncertain=True)[:COUNTED].count()
    if uncertain:
        yield note(
            "work.uncertain",
            f"Of {_many(uncertain)} deliveries of open issues a second copy may have gone out; each is flagged.",
        )


def others(_terms: Terms) -> Iterator[Finding]:
    """Look for notices, mails about accounts and imports that failed or wait long."""
    found = [
        *_mails(Notice.objects.all(), "notices", "confirmation or other notice(s)", "Notices"),
        *_mails(AccountMail.objects.all(), "account_mails", "mail(s) about accounts", "Account mails"),
    ]
    yield from found
    waiting = Q(state=ImportState.QUEUED, created_at__lt=Now() - LATE)
    dead = Q(state=ImportState.RUNNING, lease_until__lt=Now() - LATE)
    stuck = Import.objects.filter(waiting | dead)
    for one in stuck[:SHOWN]:
        yield warning(
            "work.import_stuck",
            f"The import {one.uid} is {one.state} at row {one.cursor:,} of {one.total:,} and does not move.",
            "See that workers run and reach the broker; look for import_subscribers in their log.",
        )
    if not stuck.exists() and not any(finding.level is Level.WARNING for finding in found):
        yield ok("work.others", "No notice, no mail about an account and no import waits in vain.")


def _mails(rows: QuerySet[M], code: str, name: str, page: str) -> Iterator[Finding]:
    counts = rows.aggregate(
        failed=Count("pk", filter=Q(state=MailState.FAILED, created_at__gt=Now() - RECENT)),
        late=Count("pk", filter=Q(state=MailState.QUEUED, next_at__lt=Now() - LATE)),
        deferred=Count("pk", filter=Q(state=MailState.QUEUED, next_at__gt=Now(), created_at__lt=Now() - LATE)),
    )
    if counts["late"]:
        yield warning(
            f"work.{code}_late",
            f"{counts['late']} {name} have been due for 5 minutes.",
            "See that workers run and reach the broker.",
        )
    if counts["deferred"]:
        yield warning(
            f"work.{code}_deferred",
            f"{counts['deferred']} {name} wait for another attempt. {_last_reply(rows, MailState.QUEUED)}",
            f"Look at what the relay said of them in the admin ({page}).",
        )
    if counts["failed"]:
        yield note(
            f"work.{code}_failed",
            f"{counts['failed']} {name} of the last 7 days failed. {_last_reply(rows, MailState.FAILED)}",
            f"Look at them in the admin ({page}).",
        )


def _last_reply(rows: QuerySet[M], state: MailState) -> str:
    last = rows.filter(state=state).exclude(last_reply="").order_by("-pk").first()
    return f"Last reply: {quote(last.last_reply)}" if last else ""


def _many(count: int) -> str:
    return f"{count:,} or more" if count >= COUNTED else f"{count:,}"
