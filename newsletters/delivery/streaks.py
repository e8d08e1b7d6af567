"""Failures in a row of an issue, counted on its row over all worker processes and their restarts."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction

from newsletters.delivery.breaker import Streaks
from newsletters.delivery.editions import COUNTS
from newsletters.models import Issue, IssueState

ELSEWHERE = ""


def tell(issue_id: int, news: Streaks, *, succeeded: bool) -> Streaks | None:
    """Add failures to those of all processes, or begin anew with them when a mail has gone through before.

    Returns what is counted now; None when the issue is not sending.
    """
    with transaction.atomic():
        fields = _anew(news) if succeeded else _further(news)
        if not Issue.objects.filter(pk=issue_id, state=IssueState.SENDING).update(**fields):
            return None
        return _counted(issue_id)


def _counted(issue_id: int) -> Streaks:
    found: Any = Issue.objects.filter(pk=issue_id).values_list(*COUNTS, "policy_domain", "policy_spread").get()
    relay, policy, uncertain, composition, domain, spread = found
    domains = ({domain} if domain else set()) | ({ELSEWHERE} if spread else set())
    return Streaks(relay, policy, uncertain, composition, domains)


def _anew(news: Streaks) -> dict[str, Any]:
    counts = (news.relay, news.policy, news.uncertain, news.composition)
    fields: dict[str, Any] = dict(zip(COUNTS, counts, strict=True))
    return {**fields, "policy_domain": min(news.domains, default=""), "policy_spread": len(news.domains) > 1}


def _further(news: Streaks) -> dict[str, Any]:
    anew = _anew(news)
    fields: dict[str, Any] = {column: models.F(column) + anew[column] for column in COUNTS}
    if news.domains:
        first = anew["policy_domain"]
        unknown = models.Q(policy_domain="")
        fields["policy_domain"] = models.Case(
            models.When(unknown, then=models.Value(first)), default=models.F("policy_domain")
        )
        same = models.Q(policy_spread=False) & (unknown | models.Q(policy_domain=first))
        spread = models.Case(models.When(same, then=models.Value(False)), default=models.Value(True))
        fields["policy_spread"] = models.Value(True) if anew["policy_spread"] else spread
    return fields
