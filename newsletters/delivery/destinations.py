"""The database's side of pacing: closures that hold for all processes, limits, and what is shown of them.

All times are the database's. Every statement can be repeated: a report that arrives twice changes nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Greatest, Least, Now

from accounts.models import Publisher
from newsletters.delivery.pacing import Key, Known, Reports, Snapshot
from newsletters.delivery.window import FIRST_CLOSURE, LONGEST_CLOSURE
from newsletters.models import Destination

log = structlog.get_logger(__name__)

MAX_REPLY = 500
# Closed this lately, its window is still of interest.
LATELY = timedelta(days=1)
FORGOTTEN_AFTER = timedelta(days=30)
MOST_KNOWN = 10_000
CLOSED = models.Q(closed_until__isnull=False, closed_until__gt=Now())
OPEN = models.Q(closed_until__isnull=True) | models.Q(closed_until__lte=Now())
_SECOND = models.Value(timedelta(seconds=1))
# Whatever stands around an @, also one in percent encoding or behind a quoted local part.
_ADDRESS = re.compile(r'"[^"]*"(?:@|%40)\S*|\S*(?:@|%40)\S*', re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


def exchange(publisher_ids: Collection[int], reports: Reports) -> Snapshot:
    """Write what a process reports and return what it must know; to be called about once a second.

    Answers for the given publishers and those of the reports. With nothing to write it is one SELECT.
    """
    if reports.recoveries:
        _recover(reports.recoveries)
    if reports.closures:
        _close(reports.closures)
    if reports.windows:
        _show(reports.windows)
    asked = {*publisher_ids, *(publisher for (publisher, _), _ in reports.closures)}
    asked |= {publisher for publisher, _ in reports.recoveries}
    return Snapshot(frozenset(asked), _known(asked))


def forget_unused(limit: int = 1000) -> int:
    """Delete up to `limit` open destinations that nobody limited or touched for 30 days; return how many went."""
    old = Destination.objects.filter(OPEN, max_concurrency__isnull=True, updated_at__lt=Now() - FORGOTTEN_AFTER)
    batch = list(old.values_list("pk", flat=True)[:limit])
    # Asked again in the DELETE: a person may have limited one meanwhile.
    return old.filter(pk__in=batch).delete()[0] if batch else 0


def without_addresses(text: str) -> str:
    """Return a reply as one printable line of at most 500 characters that names no reader."""
    return _ADDRESS.sub("…", _UNPRINTABLE.sub(" ", text)).strip()[:MAX_REPLY]


def _of(key: Key) -> models.QuerySet[Destination]:
    publisher, domain = key
    return Destination.objects.filter(publisher_id=publisher, domain=domain)


# Each of these is one transaction, which takes its rows in one order so that two processes never wait for each other.
@transaction.atomic
def _recover(keys: list[Key]) -> None:
    """Forget the lengths of the latest closures, unless another process has closed one again."""
    for key in sorted(keys):
        _of(key).filter(OPEN, closed_seconds__gt=0).update(closed_seconds=0, closed_until=None, updated_at=Now())


@transaction.atomic
def _show(windows: list[tuple[Key, int]]) -> None:
    for key, window in sorted(windows):
        _of(key).exclude(window=window).update(window=window, updated_at=Now())


@transaction.atomic
def _close(closures: list[tuple[Key, str]]) -> None:
    """Close destinations, each for twice as long as the last time; one that is closed already stays as it is."""
    publishers = {publisher for (publisher, _), _ in closures}
    there = set(Publisher.objects.filter(pk__in=publishers).values_list("pk", flat=True))
    kept = sorted((key, reply) for key, reply in closures if key[0] in there)
    rows = [Destination(publisher_id=publisher, domain=domain) for (publisher, domain), _ in kept]
    Destination.objects.bulk_create(rows, ignore_conflicts=True)
    for key, reply in kept:
        words = without_addresses(reply)
        # The guard makes two processes that close it at the same time double once.
        if _of(key).filter(OPEN).update(**_closing(), last_reply=words, last_closed_at=Now(), updated_at=Now()):
            log.warning("destination_closed", publisher=key[0], domain=key[1], reply=words)


def _closing() -> dict[str, Any]:
    """Return the closing of `pacing.closure_after`, reckoned by the database from the row's own state."""
    scale = settings.RETRY_SCALE_PERCENT / 100
    first, longest = math.ceil(FIRST_CLOSURE * scale), math.ceil(LONGEST_CLOSURE * scale)
    seconds = Least(Greatest(models.F("closed_seconds") * 2, first), longest)
    length = models.ExpressionWrapper(seconds * _SECOND, output_field=models.DurationField())
    return {"closed_seconds": seconds, "closed_until": Now() + length}


def _known(publisher_ids: Collection[int]) -> list[Known]:
    """Return the destinations that are closed, were so until now or lately, or are limited."""
    if not publisher_ids:
        return []
    of_interest = (
        models.Q(max_concurrency__isnull=False)
        | models.Q(closed_seconds__gt=0)
        | models.Q(last_closed_at__gt=Now() - LATELY)
    )
    left = models.ExpressionWrapper(models.F("closed_until") - Now(), output_field=models.DurationField())
    rows = (
        Destination.objects.filter(of_interest, publisher_id__in=publisher_ids)
        .annotate(left=left)
        .values_list("publisher_id", "domain", "max_concurrency", "left", "closed_seconds")
    )
    # When there are too many, a person's limits come first and old closures last.
    rows = rows.order_by(
        models.F("max_concurrency").asc(nulls_last=True), models.F("last_closed_at").desc(nulls_last=True)
    )
    return [
        Known((publisher, domain), limit, max(0.0, left.total_seconds()) if left else 0.0, seconds)
        for publisher, domain, limit, left, seconds in rows[:MOST_KNOWN]
    ]
