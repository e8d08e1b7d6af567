"""The rescue: gives rows of dead workers back, and closes what has ended.

May break: one mail per SMTP connection of a worker that was not dead but stopped for longer than its
lease. Its row was flagged `uncertain` and is attempted again; its late `sent` still counts if nobody
has been permitted since.
"""

from __future__ import annotations

from typing import Any

import structlog
from django.db import models, transaction
from django.db.models.functions import Now

from newsletters.models import Delivery, DeliveryState, Issue, IssueState, OnUncertain
from newsletters.models.delivery import OPEN_STATES
from newsletters.models.issue import IssueQuerySet

log = structlog.get_logger(__name__)

MAX_KILLS = 3
SWEEP_ROWS = 10_000

_UNDER_WAY = Issue.objects.filter(started_at__isnull=False, finished_at__isnull=True)


def reclaim_dead_leases() -> int:
    """Give back rows whose lease ran out, `sending → queued`; returns how many.

    A row whose mail may have been in flight is flagged `uncertain` and its kill counted; after three
    kills, or at once where the newsletter holds uncertain mails, it is `held`.
    """
    dead = Delivery.objects.filter(issue__in=_UNDER_WAY, state=DeliveryState.SENDING, lease_until__lt=Now())
    free = {"lease_token": None, "lease_until": None, "gated": False}
    # One guarded UPDATE each: a row settled or renewed meanwhile no longer matches.
    held = dead.filter(gated=True).filter(
        models.Q(kills__gte=MAX_KILLS - 1)
        | models.Q(issue__in=Issue.objects.filter(newsletter__on_uncertain=OnUncertain.HOLD))
    )
    with transaction.atomic():
        count = held.update(
            state=DeliveryState.HELD,
            kills=models.F("kills") + 1,
            uncertain=True,
            reason="worker_died",
            settled_at=Now(),
            **free,
        )
        count += dead.filter(gated=True).update(
            state=DeliveryState.QUEUED,
            kills=models.F("kills") + 1,
            uncertain=True,
            reason="worker_died",
            next_at=Now(),
            **free,
        )
        count += dead.filter(gated=False).update(state=DeliveryState.QUEUED, next_at=Now(), **free)
    return count


def finish_issues() -> int:
    """Move issues to `sent` whose fan-out is complete and of which no row is open; returns how many."""
    done = _UNDER_WAY.filter(fan_out_done_at__isnull=False)
    for state in OPEN_STATES:
        # A question for each state finds its own partial index; asked as one, it reads all rows of the issue.
        done = done.exclude(models.Exists(Delivery.objects.filter(issue=models.OuterRef("pk"), state=state)))
    finished = 0
    for pk in [pk for pk in _ids(IssueState.SENDING) if not any(_has(pk, state=state) for state in OPEN_STATES)]:
        if _finish(pk, done):
            finished += 1
            log.info("issue_sent", issue=pk)
    for pk in [pk for pk in _ids(IssueState.CANCELLED) if not any(_has(pk, state=state) for state in OPEN_STATES)]:
        finished += done.filter(pk=pk, state=IssueState.CANCELLED).update(finished_at=Now())
    return finished


@transaction.atomic
def _finish(issue_id: int, done: IssueQuerySet) -> bool:
    """Call one issue sent if it is among those that are done."""
    # An UPDATE that waited for somebody who resends a held row would ask about the rows as they were before it
    # waited. So the waiting is done first; the UPDATE asks the whole question afresh, and only its answer counts.
    Issue.objects.select_for_update(no_key=True).filter(pk=issue_id).values_list("pk").first()
    return done.filter(pk=issue_id).move([IssueState.SENDING], IssueState.SENT, finished_at=Now())


def sweep_cancelled() -> int:
    """Close rows that were still waiting when their issue was cancelled; returns how many."""
    return sum(_sweep(pk) for pk in _ids(IssueState.CANCELLED))


def _sweep(issue_id: int) -> int:
    """Close the next waiting rows of a cancelled issue; returns how many."""
    waiting = Delivery.objects.filter(issue=issue_id, state=DeliveryState.QUEUED)
    # In the order of the claim's index: in any order, one row may be looked for in the whole ledger.
    batch = list(waiting.order_by("next_at", "pk").values_list("pk", flat=True)[:SWEEP_ROWS])
    if not batch:
        return 0
    return Delivery.objects.filter(pk__in=batch, state=DeliveryState.QUEUED).update(
        state=DeliveryState.CANCELLED, reason="issue_cancelled", settled_at=Now()
    )


def issues_with_due_rows() -> list[int]:
    """Return the ids of sending issues that have a row due now."""
    return [pk for pk in _ids(IssueState.SENDING) if _has(pk, state=DeliveryState.QUEUED, next_at__lte=Now())]


def _ids(state: IssueState) -> list[int]:
    return list(_UNDER_WAY.filter(state=state).values_list("pk", flat=True))


def _has(issue_id: int, *, state: DeliveryState, **which: Any) -> bool:
    """Say whether an issue has such an open row: the first of the state's own index, whatever the statistics say."""
    rows = Delivery.objects.filter(issue=issue_id, state=state, **which)
    # In an order of its own, or the planner hopes to meet one soon in the table and reads it whole when there is none.
    order = ("next_at", "pk") if state == DeliveryState.QUEUED else ("lease_until",)
    return rows.order_by(*order).values_list("pk", flat=True).first() is not None
