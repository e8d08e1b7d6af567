"""How fast a sender may send: its `max_rate`, kept by all worker processes together.

The generic cell rate algorithm (ITU-T I.371) runs in the database and on its clock: a sender's row
says when the next mail not yet permitted may begin, and a process takes the permits of the next
moments in a small block. So the number of processes, their restarts and the broker change nothing.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import LiteralString

from django.db import connection, transaction
from django.db.models.functions import Now

from newsletters.models import SenderIdentity, SenderPace

# How far ahead permits are given out, and how much of what nobody asked for may be made up.
HORIZON_SECONDS = 0.5
BURST_SECONDS = 0.25
# One statement, so that a process that is stopped never holds the row that all others need. The time is read once the
# row is locked: with an earlier one, the last bound would take back what another process was given meanwhile.
RESERVE: LiteralString = """
WITH pace AS MATERIALIZED (
    SELECT p.sender_id, p.next_at, s.max_rate AS rate
    FROM newsletters_senderpace p JOIN newsletters_senderidentity s ON s.id = p.sender_id
    WHERE p.sender_id = %(sender)s AND s.max_rate IS NOT NULL
    FOR UPDATE OF p),
timed AS MATERIALIZED (SELECT *, clock_timestamp() AS now FROM pace),
soon AS (
    SELECT *, least(greatest(extract(epoch FROM next_at - now)::float8, -%(burst)s), %(horizon)s + 1 / rate) AS first_in
    FROM timed),
block AS (
    SELECT *, least(%(want)s, greatest(0, 1 + floor((%(horizon)s - first_in) * rate)))::integer AS count FROM soon),
moved AS (
    UPDATE newsletters_senderpace p SET next_at = now + (first_in + count / rate) * interval '1 second'
    FROM block WHERE p.sender_id = block.sender_id
    RETURNING block.count, block.first_in)
SELECT s.max_rate, moved.count, moved.first_in
FROM newsletters_senderidentity s LEFT JOIN moved ON true WHERE s.id = %(sender)s
"""


@dataclass(frozen=True, slots=True)
class SenderLimits:
    """What an operator set for a sender: mails a second and connections at once; None for no limit."""

    max_rate: float | None
    max_connections: int | None


@dataclass(frozen=True, slots=True)
class Permits:
    """A block of permits: `count` mails of which the first may begin in `first_in` seconds, or already might have.

    The others follow every `interval` seconds. `retry_in` is the number of seconds after which more can be
    had. A `rate` of None means that the sender has no limit.
    """

    rate: float | None
    count: int
    first_in: float
    interval: float
    retry_in: float


UNLIMITED = Permits(rate=None, count=0, first_in=0.0, interval=0.0, retry_in=0.0)


def limits(sender_id: int) -> SenderLimits:
    """Return a sender's limits as they are now; none for a sender that is gone."""
    found = SenderIdentity.objects.filter(pk=sender_id).values_list("max_rate", "max_connections").first()
    return SenderLimits(*found) if found else SenderLimits(None, None)


def reserve(sender_id: int, *, want: int, horizon: float = HORIZON_SECONDS) -> Permits:
    """Take up to `want` of the permits whose time comes within `horizon` seconds.

    The limit is read anew each time. The next permit is never further away than one interval beyond the
    horizon, so a raised limit counts at once, whatever had been given out at the old one. Raises DatabaseError.
    """
    take = _reserve_on_sqlite if connection.vendor == "sqlite" else _reserve_on_postgresql
    while (taken := take(sender_id, want, horizon)) is None:
        # Two processes may do this at once: the loser's row is the winner's.
        SenderPace.objects.bulk_create([SenderPace(sender_id=sender_id)], ignore_conflicts=True)
    return taken


def _reserve_on_postgresql(sender_id: int, want: int, horizon: float) -> Permits | None:
    """Return None when the sender has a limit and no row yet."""
    parameters = {"sender": sender_id, "want": want, "horizon": horizon, "burst": BURST_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(RESERVE, parameters)
        found = cursor.fetchone()
    if found is None or found[0] is None:
        return UNLIMITED
    rate, count, first_in = found
    return None if count is None else _permits(rate, count, first_in, horizon)


def _reserve_on_sqlite(sender_id: int, want: int, horizon: float) -> Permits | None:
    """Do the same in an IMMEDIATE transaction: SQLite counts milliseconds, too coarse for fast senders."""
    with transaction.atomic():
        sender = SenderIdentity.objects.filter(pk=sender_id, max_rate__isnull=False)
        found = sender.values_list("max_rate", "pace__next_at", Now()).first()
        if found is None:
            return UNLIMITED
        rate, next_at, now = found
        if next_at is None:
            return None
        first_in = min(max((next_at - now).total_seconds(), -BURST_SECONDS), horizon + 1 / rate)
        count = min(want, max(0, 1 + math.floor((horizon - first_in) * rate)))
        after = now + datetime.timedelta(seconds=first_in + count / rate)
        SenderPace.objects.filter(sender=sender_id).update(next_at=after)
    return _permits(rate, count, first_in, horizon)


def _permits(rate: float, count: int, first_in: float, horizon: float) -> Permits:
    interval = 1 / rate
    return Permits(rate, count, first_in, interval, max(0.0, first_in + count * interval - horizon))
