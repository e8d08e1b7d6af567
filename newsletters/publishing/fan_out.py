"""Fan-out: one ledger row for each reader who was active when the issue started."""

from __future__ import annotations

import time

from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Now

from newsletters.delivery.dialects import dialect
from newsletters.delivery.editions import note_readable, note_unreadable, read_template
from newsletters.models import DeliveryState, Edition, Issue, IssueState

CHUNK: int = settings.FAN_OUT_CHUNK
FIRST_CHUNK = min(2_000, CHUNK)
SLICE_SECONDS = 20.0


def fan_out(issue_id: int) -> None:
    """Insert an issue's missing ledger rows, chunk by chunk, for at most 20 s; the clock rings again.

    Each chunk is one transaction that also moves the cursor, so that a kill anywhere repeats nothing.
    Delivery begins after the first chunk.
    """
    until = time.monotonic() + SLICE_SECONDS
    fields = _merge_fields(issue_id)
    if fields is None:
        note_unreadable(issue_id)
        return
    more = _insert_chunk(issue_id, fields)
    dialect().tell_planner()
    while more and time.monotonic() < until:
        more = _insert_chunk(issue_id, fields)


def issues_to_fan_out() -> list[int]:
    """Return the ids of started issues whose fan-out is not complete, paused and cancelled ones included."""
    unfinished = Issue.objects.filter(started_at__isnull=False, finished_at__isnull=True, fan_out_done_at__isnull=True)
    return list(unfinished.exclude(state=IssueState.BLOCKED).values_list("pk", flat=True))


def _merge_fields(issue_id: int) -> tuple[str, ...] | None:
    """Return the readers' values to freeze; None when this process cannot read which they are."""
    # A cancelled issue sends nothing, so its rows need none.
    found = Edition.objects.exclude(issue__state=IssueState.CANCELLED).filter(issue=issue_id).values_list("template")
    stored = found.first()
    if stored is None:
        return ()
    template = read_template(issue_id, bytes(stored[0]))
    if template is None:
        return None
    note_readable(issue_id)
    return template.merge_fields


def _insert_chunk(issue_id: int, merge_fields: tuple[str, ...]) -> bool:
    """Insert the next chunk; True when there may be more."""
    with transaction.atomic():
        # The row lock lets one fan-out of an issue work at a time, and makes a cancel wait for its chunk.
        unfinished = Issue.objects.filter(pk=issue_id, fan_out_done_at__isnull=True)
        issue = unfinished.select_for_update(skip_locked=True).first()
        if issue is None or issue.started_at is None:
            return False
        cancelled = issue.state == IssueState.CANCELLED
        limit = CHUNK if issue.fan_out_cursor else FIRST_CHUNK
        chunk = dialect().fan_out(
            issue_id,
            after=issue.fan_out_cursor,
            limit=limit,
            state=DeliveryState.CANCELLED if cancelled else DeliveryState.QUEUED,
            merge_fields=merge_fields,
        )
        done = chunk.looked_at < limit
        Issue.objects.filter(pk=issue_id).update(
            fan_out_cursor=chunk.last_id or issue.fan_out_cursor,
            audience=models.F("audience") + chunk.inserted,
            fan_out_done_at=Now() if done else None,
        )
    return not done
