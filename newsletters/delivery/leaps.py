"""What to do after the database's clock has leapt back: nothing waits for hours that will come a second time.

Times that were written before the leap lie too far ahead, and nobody can tell them from others. So each is brought
to where it can lie at most, had it been written now. That ends no claim: whoever is alive renews its lease.
"""

from __future__ import annotations

import math
from datetime import timedelta

import structlog
from django.conf import settings
from django.db.models import (
    Case,
    DateTimeField,
    DurationField,
    ExpressionWrapper,
    IntegerField,
    Model,
    QuerySet,
    Value,
    When,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Now

from accounts.models import AccountMail
from core.models import MailState
from core.outbox import BACK_OFF, RELAY_PAUSE, lease_of_a_mail
from newsletters.delivery.replies import JITTER, SCHEDULE
from newsletters.models import ActiveCourier, Delivery, DeliveryState, Destination, Issue, Notice

log = structlog.get_logger(__name__)

# When something began, or was last seen.
PAST = ("resumed_at", "failing_since", "unread_since", "trials_at")
_UNDER_WAY = Issue.objects.filter(started_at__isnull=False, finished_at__isnull=True)
_AT_ONCE = Value(timedelta(0), output_field=DurationField())


def pull_back() -> None:
    """Bring the times of open deliveries and mails, of their issues, destinations and couriers, within reach."""
    # Issues before deliveries, as everybody locks them.
    for name in PAST:
        _bring(_UNDER_WAY, name, _AT_ONCE)
    deliveries = Delivery.objects.filter(issue__in=_UNDER_WAY)
    lease = timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
    leased = _bring(deliveries.filter(state=DeliveryState.SENDING), "lease_until", lease)
    queued = _bring(deliveries.filter(state=DeliveryState.QUEUED), "next_at", _longest_wait())
    log.warning("database_clock_leapt_back", leased=leased, queued=queued)
    _bring(Destination.objects.all(), "closed_until", _closure())
    for mails in (Notice.objects.all(), AccountMail.objects.all()):
        _bring(mails.filter(state=MailState.SENDING), "lease_until", lease_of_a_mail())
        _bring(mails.filter(state=MailState.QUEUED), "next_at", _longest_pause())
    # Those who live write themselves down again at their next beat.
    ActiveCourier.objects.filter(seen_at__gt=Now()).delete()


def _bring(rows: QuerySet[Model], name: str, wait: timedelta | Combinable) -> int:
    """Make a time of these rows lie no further ahead than `wait`; returns of how many it did."""
    latest = ExpressionWrapper(Now() + wait, output_field=DateTimeField())
    # The first condition is for the index.
    return rows.filter(**{f"{name}__gt": Now()}).filter(**{f"{name}__gt": latest}).update(**{name: latest})


def _closure() -> Combinable:
    """Return for how long a destination was closed."""
    # SQLite multiplies no smaller kind of number with a duration.
    seconds = Cast("closed_seconds", IntegerField()) * Value(timedelta(seconds=1), output_field=DurationField())
    return ExpressionWrapper(seconds, output_field=DurationField())


def _longest_wait() -> Case:
    """Return how long a delivery waits at most: as the schedule says, or not at all when no attempt was deferred."""
    longest = (1 + JITTER) * settings.RETRY_SCALE_PERCENT / 100
    waits = [timedelta(seconds=math.ceil(seconds * longest)) for seconds in SCHEDULE]
    # Rows of dead workers are due at once, after however many attempts.
    return _by_attempts(waits, When(reason="worker_died", then=_AT_ONCE), default=timedelta(0))


def _longest_pause() -> Case:
    return _by_attempts([pause * settings.RETRY_SCALE_PERCENT / 100 for pause in BACK_OFF], default=RELAY_PAUSE)


def _by_attempts(waits: list[timedelta], *first: When, default: timedelta) -> Case:
    cases = [When(attempts=number, then=Value(wait)) for number, wait in enumerate(waits, start=1)]
    return Case(*first, *cases, default=Value(default), output_field=DurationField())
