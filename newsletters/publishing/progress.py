"""Progress: the accounting of an issue, counted from the ledger itself for as long as its rows are kept."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.db.models.functions import Now

from newsletters.models import DeliveryState, Issue, IssueState


@dataclass(frozen=True)
class Progress:
    """Where every reader of an issue is.

    `audience = queued + sending + sent + bounced + expired + suppressed + cancelled + held` at every
    moment; `accounted` says that the counts add up. `uncertain` counts rows of which a second copy may
    have gone out, in whatever state. `rate_per_second` is the average over the time spent sending; cancelled rows
    were never worked on and do not count. From `archived_at` on, the counts are those kept on the issue.
    """

    state: str
    audience: int
    queued: int
    sending: int
    sent: int
    bounced: int
    expired: int
    suppressed: int
    cancelled: int
    held: int
    uncertain: int
    fan_out_complete: bool
    accounted: bool
    rate_per_second: float | None
    eta_seconds: int | None
    started_at: datetime.datetime | None
    finished_at: datetime.datetime | None
    archived_at: datetime.datetime | None


def measure(issue: Issue) -> Progress:
    """Count an issue's ledger rows by state, in one statement and so at one moment."""
    counts = {
        state.value: models.Count("deliveries", filter=models.Q(deliveries__state=state)) for state in DeliveryState
    }
    row: dict[str, Any] = dict(
        Issue.objects.filter(pk=issue.pk)
        .annotate(
            now=models.ExpressionWrapper(Now(), output_field=models.DateTimeField()),
            uncertain=models.Count("deliveries", filter=models.Q(deliveries__uncertain=True)),
            **{f"count_{name}": count for name, count in counts.items()},
        )
        .values()
        .get()
    )
    # What is left of an archived issue's rows is on its way out.
    kept = row["final_counts"] or {name: row[f"count_{name}"] for name in counts} | {"uncertain": row["uncertain"]}
    by_state = {name: kept[name] for name in counts}
    is_open = by_state["queued"] + by_state["sending"]
    seconds = row["active_time"].total_seconds()
    if row["state"] == IssueState.SENDING:
        seconds += (row["now"] - row["resumed_at"]).total_seconds()
    closed = sum(by_state.values()) - is_open - by_state["cancelled"]
    rate = closed / seconds if closed and seconds > 0 else None
    complete = row["fan_out_done_at"] is not None
    eta = round(is_open / rate) if rate and complete and row["state"] == IssueState.SENDING else None
    return Progress(
        state=row["state"],
        audience=row["audience"],
        **by_state,
        uncertain=kept["uncertain"],
        fan_out_complete=complete,
        accounted=row["audience"] == sum(by_state.values()),
        rate_per_second=round(rate, 1) if rate else None,
        eta_seconds=eta,
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        archived_at=row["archived_at"],
    )
