"""Retention: what becomes of the ledger rows of an issue that ended long ago.

First its account is closed: one transaction writes the number of its rows by state into `final_counts`, and from
then on the issue answers from there and shows no row. Then the rows go, in small batches in the order of their
ids. Rows of such an issue are in final states, so nothing changes them in between; a kill at any point, a
repetition or a second process at the same work changes no number.
"""

from __future__ import annotations

import datetime
import time

import structlog
from django.conf import settings
from django.db import models, transaction
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now

from newsletters.models import Delivery, DeliveryState, Issue, IssueState
from newsletters.models.delivery import OPEN_STATES

log = structlog.get_logger(__name__)

BATCH = 2_000
SLICE_SECONDS = 20.0
ENDED = (IssueState.SENT, IssueState.CANCELLED)
# A held row waits for a person, who must still find it.
UNDECIDED = (*OPEN_STATES, DeliveryState.HELD)
ISSUES_AT_ONCE = 1_000
# One descent of the index (issue, id) for each issue that has rows, however many rows those are.
ISSUES_WITH_ROWS = """
WITH RECURSIVE kept (issue_id) AS (
    SELECT min(issue_id) FROM newsletters_delivery WHERE issue_id >= %s
    UNION ALL
    SELECT (SELECT min(d.issue_id) FROM newsletters_delivery d WHERE d.issue_id > kept.issue_id)
    FROM kept WHERE kept.issue_id IS NOT NULL)
SELECT issue_id FROM kept WHERE issue_id IS NOT NULL
"""


def oldest_issue() -> list[int]:
    """Return the id of the first issue that has rows, where a search begins; none when all rows are kept for ever."""
    if not settings.DELIVERY_RETENTION_DAYS:
        return []
    first = Delivery.objects.order_by("issue_id", "pk").values_list("issue_id", flat=True)[:1]
    return list(first)


def run(first_issue_id: int) -> int:
    """Archive issues from an id on for at most 20 s; return how many rows went. The clock rings again."""
    until = time.monotonic() + SLICE_SECONDS
    removed = 0
    for issue_id in due_ids(first_issue_id):
        if time.monotonic() >= until:
            break
        removed += archive(issue_id, until=until)
    return removed


def due_ids(first_issue_id: int) -> list[int]:
    """Return the ids of up to 1,000 issues from an id on whose rows are to go, those already begun first."""
    if not settings.DELIVERY_RETENTION_DAYS:
        return []
    due = _due().filter(pk__in=RawSQL(ISSUES_WITH_ROWS, [first_issue_id]))  # noqa: S611  # a constant
    # The others in any order: those that cannot be archived must not keep the rest waiting.
    in_order = due.order_by(models.F("archived_at").asc(nulls_last=True), "?")
    return list(in_order.values_list("pk", flat=True)[:ISSUES_AT_ONCE])


def archive(issue_id: int, *, until: float) -> int:
    """Close an issue's account, then remove its rows until a moment of the monotonic clock; return how many went.

    Does nothing for an issue that is not due, has open or held rows, or whose rows do not add up to its audience.
    """
    if not _close_account(issue_id):
        return 0
    removed = last_id = 0
    while (began := time.monotonic()) < until:
        batch = _remove_batch(issue_id, after=last_id)
        if not batch:
            break
        removed, last_id = removed + len(batch), batch[-1]
        # SQLite has one writer, and one that waits looks only now and then; elsewhere the disk is shared.
        time.sleep(time.monotonic() - began)
    return removed


def count_rows(issue_id: int) -> dict[str, int]:
    """Return the number of an issue's ledger rows by state, and of those that are `uncertain`."""
    counts = dict.fromkeys(DeliveryState.values, 0) | {"uncertain": 0}
    by_state = Delivery.objects.filter(issue=issue_id).values_list("state")
    doubtful = models.Count("pk", filter=models.Q(uncertain=True))
    for state, number, uncertain in by_state.annotate(number=models.Count("pk"), doubtful=doubtful):
        counts[state] = number
        counts["uncertain"] += uncertain
    return counts


def _due() -> models.QuerySet[Issue]:
    """Return the issues that ended so long ago that their rows are no longer kept."""
    days = settings.DELIVERY_RETENTION_DAYS
    if not days:
        return Issue.objects.none()
    # The rows of a deleted newsletter are its purge's business.
    return Issue.objects.filter(
        state__in=ENDED,
        fan_out_done_at__isnull=False,
        finished_at__lte=Now() - datetime.timedelta(days=days),
        newsletter__deleted_at__isnull=True,
    )


def _lock(issue_id: int) -> Issue | None:
    """Return the issue, locked to the end of the transaction; None when it is not due or another holds it."""
    locked = _due().select_for_update(of=("self",), skip_locked=True, no_key=True)
    return locked.only("audience", "archived_at").filter(pk=issue_id).first()


@transaction.atomic
def _close_account(issue_id: int) -> bool:
    """Write an issue's final counts; True when its rows may go."""
    issue = _lock(issue_id)
    if issue is None or issue.archived_at is not None:
        return issue is not None
    counts = count_rows(issue_id)
    if any(counts[state] for state in UNDECIDED):
        return False
    rows = sum(counts[state] for state in DeliveryState.values)
    if rows != issue.audience:
        log.warning("issue_not_archived", issue=issue_id, audience=issue.audience, rows=rows)
        return False
    unarchived = Issue.objects.filter(pk=issue_id, archived_at__isnull=True)
    closed = unarchived.update(archived_at=Now(), final_counts=counts, updated_at=Now()) == 1
    log.info("issue_archived", issue=issue_id, rows=rows)
    return closed


@transaction.atomic
def _remove_batch(issue_id: int, *, after: int) -> list[int]:
    """Remove the next rows of an archived issue; return their ids, none when another process is at it."""
    issue = _lock(issue_id)
    if issue is None or issue.archived_at is None:
        return []
    # From `after` on: before it the index is full of the entries of removed rows until the next vacuum. The order
    # by two columns, neither known to be constant, is the index's own: PostgreSQL never reads the table by its key.
    rows = Delivery.objects.filter(issue__gte=issue_id, issue__lte=issue_id, pk__gt=after).order_by("issue_id", "pk")
    batch = list(rows.values_list("pk", flat=True)[:BATCH])
    Delivery.objects.filter(pk__in=batch).delete()
    return batch
