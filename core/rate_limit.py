"""Rate limits that hold over all processes and threads: one row for each bucket, one statement for each request.

A bucket is what a caller may use up: `quota` requests at once, refilled evenly over `window` seconds (the generic
cell rate algorithm: a row holds only the moment until which its requests are paid for). The database's row lock
makes takers go one after another, so exactly the quota gets through.

Header fields: draft-ietf-httpapi-ratelimit-headers-10 (`RateLimit-Policy`, `RateLimit`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from django.db import connection

# A moment further ahead than this was paid for before the database's clock was set back.
FAR_AHEAD_SECONDS = 60.0
FORGET_AT_ONCE = 50_000
_NOW = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS double precision)",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
_GREATEST = {"postgresql": "greatest", "sqlite": "max"}
# `excluded` holds the bucket as it would be if it were new: the present moment and one request.
_TAKE = """
INSERT INTO core_ratelimit AS known (bucket, paid_until) VALUES (%(bucket)s, {now} + %(each)s)
ON CONFLICT (bucket) DO UPDATE SET paid_until = {paid}
WHERE {paid} <= excluded.paid_until - %(each)s + %(window)s + 0.000001
RETURNING paid_until - {now}
"""
_PAID = """
CASE WHEN known.paid_until > excluded.paid_until + %(window)s + {far} THEN excluded.paid_until
     ELSE {greatest}(known.paid_until, excluded.paid_until - %(each)s) + %(each)s END
"""
_AHEAD = "SELECT paid_until - {now} FROM core_ratelimit WHERE bucket = %(bucket)s"
_FORGET = """
DELETE FROM core_ratelimit WHERE bucket IN (
    SELECT bucket FROM core_ratelimit WHERE paid_until < {now} - %(idle)s LIMIT %(most)s)
"""


@dataclass(frozen=True)
class Limit:
    """`quota` requests in `window` seconds; `name` is what callers are told."""

    name: str
    quota: int
    window: int = 1


@dataclass(frozen=True)
class Taken:
    """What became of one request: whether it may go on, how many more may, and the waiting time where it may not.

    `full_after` and `retry_after` are in seconds.
    """

    limit: Limit
    allowed: bool
    remaining: int
    full_after: float
    retry_after: float = 0.0

    def headers(self) -> dict[str, str]:
        """Return the header fields of the answer."""
        name, reset = self.limit.name, math.ceil(self.full_after)
        shown = {
            "RateLimit-Policy": f'"{name}";q={self.limit.quota};w={self.limit.window}',
            "RateLimit": f'"{name}";r={self.remaining};t={reset}',
        }
        return shown if self.allowed else shown | {"Retry-After": str(max(1, math.ceil(self.retry_after)))}


def take(bucket: str, limit: Limit) -> Taken:
    """Take one request out of a bucket, a text of up to 80 characters; a refused one uses up nothing."""
    each = limit.window / limit.quota
    values: dict[str, str | float] = {"bucket": bucket, "each": each, "window": float(limit.window)}
    with connection.cursor() as cursor:
        cursor.execute(_statement(_TAKE), values)
        row = cursor.fetchone()
        if row is not None:
            ahead = max(0.0, float(row[0]))
            left = math.floor((limit.window - ahead) / each + 0.001)
            return Taken(limit, allowed=True, remaining=max(0, left), full_after=ahead)
        cursor.execute(_statement(_AHEAD), values)
        row = cursor.fetchone()
    ahead = 0.0 if row is None else max(0.0, float(row[0]))
    return Taken(limit, allowed=False, remaining=0, full_after=ahead, retry_after=ahead + each - limit.window)


def forget_idle(idle_seconds: float = 3600.0) -> int:
    """Remove buckets that have long been full again; return how many went."""
    with connection.cursor() as cursor:
        cursor.execute(_statement(_FORGET), {"idle": idle_seconds, "most": FORGET_AT_ONCE})
        return int(cursor.rowcount)


def _statement(template: str) -> str:
    vendor = connection.vendor
    paid = _PAID.format(far=FAR_AHEAD_SECONDS, greatest=_GREATEST[vendor])
    return template.format(now=_NOW[vendor], paid=paid)
