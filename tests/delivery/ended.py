"""Issues that ended long ago, with a row of each final state."""

from __future__ import annotations

import datetime
import time

from django.db.models import F

from newsletters.delivery import rescue, retention
from newsletters.models import Delivery, Issue, Newsletter, Subscription
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import claim, permit, settle, start

# What DELIVERY_RETENTION_DAYS is in tests.
DAYS = 90
OUTCOMES = ("sent", "sent", "bounced", "expired", "suppressed", "cancelled", "sent")


def age(issue: Issue, days: float) -> None:
    """Make an issue look as if it had ended so many days earlier."""
    Issue.objects.filter(pk=issue.pk).update(finished_at=F("finished_at") - datetime.timedelta(days=days))


def make_ended(newsletter: Newsletter | None = None, *, days: float = DAYS + 1) -> Issue:
    """Return an issue that ended so many days ago, its readers OUTCOMES; two rows are uncertain."""
    newsletter = newsletter or make_newsletter()
    if not Subscription.objects.filter(newsletter=newsletter).exists():
        make_readers(newsletter, len(OUTCOMES))
    issue = start(newsletter)
    for row, outcome in zip(claim(issue), OUTCOMES, strict=True):
        settle(permit(row), outcome, uncertain=int(outcome in {"expired", "bounced"}))
    assert rescue.finish_issues() == 1
    age(issue, days)
    issue.refresh_from_db()
    return issue


def rows_of(issue: Issue) -> int:
    return Delivery.objects.filter(issue=issue).count()


def archive(issue: Issue, *, seconds: float = 20) -> int:
    """Archive one issue; with 0 seconds its worker ends between the closing and the first batch."""
    return retention.archive(issue.pk, until=time.monotonic() + seconds)
