"""Failures in a row of an issue, counted on its row over all worker processes and their restarts."""

from __future__ import annotations

import time
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now

from newsletters.delivery.breaker import Streaks
from newsletters.delivery.editions import COUNTS
from newsletters.models import Issue, IssueState
from newsletters.models.issue import NO_FAILURES

ELSEWHERE = ""
_AGE = models.ExpressionWrapper(Now() - models.F("failing_since"), output_field=models.DurationField())


@transaction.atomic
def tell(issue_id: int, news: Streaks, *, succeeded_at: float | None) -> Streaks | None:
    """Add failures to those of all processes, after ending those that began before a mail went through here.

    `succeeded_at` is when one did last, on this process's monotonic clock: a success ends no row of failures that
    began after it. Returns what is counted now; None when the issue is not sending.
    """
    sending = Issue.objects.filter(pk=issue_id, state=IssueState.SENDING)
    # The lock comes first and the look second: a look that waited would show the row as it was before.
    if sending.select_for_update(no_key=True).values_list("pk").first() is None:
        return None
    relay, policy, uncertain, composition, domain, spread, age = _look(sending)
    counted = Streaks(relay, policy, uncertain, composition, _domains(domain, spread=spread))
    ended = age is not None and succeeded_at is not None and time.monotonic() - succeeded_at < age.total_seconds()
    if ended:
        counted = Streaks()
    counted.add(news)
    sending.update(**_fields(counted, began=age is not None and not ended))
    return counted


def _look(sending: models.QuerySet[Issue]) -> Any:
    return sending.values_list(*COUNTS, "policy_domain", "policy_spread", _AGE).get()


def _domains(domain: str, *, spread: bool) -> set[str]:
    return ({domain} if domain else set()) | ({ELSEWHERE} if spread else set())


def _fields(counted: Streaks, *, began: bool) -> dict[str, Any]:
    if counted == Streaks():
        return NO_FAILURES
    counts = (counted.relay, counted.policy, counted.uncertain, counted.composition)
    fields: dict[str, Any] = dict(zip(COUNTS, counts, strict=True))
    fields["policy_domain"] = min(counted.domains - {ELSEWHERE}, default="")
    fields["policy_spread"] = len(counted.domains) > 1
    return fields if began else {**fields, "failing_since": Now()}
