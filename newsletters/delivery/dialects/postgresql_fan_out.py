"""Fan-out on PostgreSQL: one statement a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from django.db import connection

from newsletters.delivery.dialects.words import Chunk

# Taken before the chunk is read, so that no reader of it goes between the reading and the trigger's check.
SHARE: LiteralString = """
SELECT FROM newsletters_newsletter n JOIN newsletters_issue i ON i.newsletter_id = n.id
WHERE i.id = %(issue)s FOR SHARE OF n
"""
# The audience is who was active at started_at: the present state tells for everybody unchanged since,
# the consent log for the few who left or joined after the start.
FAN_OUT: LiteralString = """
WITH issue AS (SELECT id, newsletter_id, started_at FROM newsletters_issue WHERE id = %(issue)s),
chunk AS (
    SELECT s.id, s.state, s.changed_at, s.subscriber_id, issue.started_at
    FROM issue JOIN newsletters_subscription s ON s.newsletter_id = issue.newsletter_id
    WHERE s.id > %(after)s ORDER BY s.id LIMIT %(limit)s),
inserted AS (
    INSERT INTO newsletters_delivery (issue_id, subscription_id, state, reason, settled_at, merge)
    SELECT %(issue)s, c.id, %(state)s, %(reason)s,
        CASE WHEN %(state)s <> 'queued' THEN statement_timestamp() END, {merge}
    FROM chunk c {subscriber}
    WHERE CASE WHEN c.changed_at <= c.started_at THEN c.state ELSE (
        SELECT e.state FROM newsletters_consentevent e
        WHERE e.subscription_id = c.id AND e.at <= c.started_at ORDER BY e.at DESC, e.id DESC LIMIT 1) END = 'active'
    ORDER BY c.id
    ON CONFLICT DO NOTHING RETURNING id)
SELECT (SELECT count(*) FROM chunk), (SELECT count(*) FROM inserted), (SELECT max(id) FROM chunk)
"""
JOIN: LiteralString = "JOIN newsletters_subscriber r ON r.id = c.subscriber_id"
# A function takes 100 arguments at most.
PAIRS_A_CALL = 50
# With fewer, reading the whole table looks cheap.
FEWEST_ROWS = 2_000


def insert_chunk(issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
    """Insert the next rows of an issue's ledger, in the caller's transaction."""
    parameters: dict[str, int | str | None] = {
        "issue": issue_id,
        "after": after,
        "limit": limit,
        "state": state,
        "reason": "issue_cancelled" if state == "cancelled" else None,
    }
    # Names made here, values passed: a merge field's name comes from an editor's text.
    parameters |= {f"field_{number}": field for number, field in enumerate(merge_fields)}
    parameters |= {f"key_{number}": field.removeprefix("subscriber.") for number, field in enumerate(merge_fields)}
    statement = FAN_OUT.format(merge=_merge_expression(merge_fields), subscriber=JOIN if merge_fields else "")
    with connection.cursor() as cursor:
        cursor.execute(SHARE, parameters)
        cursor.execute(statement, parameters)
        return Chunk(*cursor.fetchone())


def tell_planner() -> None:
    """Analyse the ledger unless the planner knows that it is not empty.

    A plan made for an empty table is kept, and reads the whole ledger for each claim and gate. New statistics
    also discard such plans, in every session.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'newsletters_delivery'::regclass")
        (rows,) = cursor.fetchone()
        if rows < FEWEST_ROWS:
            cursor.execute("ANALYZE newsletters_delivery")


def _merge_expression(fields: Sequence[str]) -> str:
    """Return the expression for the frozen values; a call a row, where aggregating them cost twice as much."""
    pairs = [f"%(field_{number})s::text, {_value(field, number)}" for number, field in enumerate(fields)]
    calls = [pairs[start : start + PAIRS_A_CALL] for start in range(0, len(pairs), PAIRS_A_CALL)]
    return " || ".join(f"jsonb_build_object({', '.join(call)})" for call in calls) or "NULL"


def _value(field: str, number: int) -> str:
    columns = {"subscriber.name": "r.name", "subscriber.email": "r.address"}
    return columns.get(field, f"r.attributes ->> %(key_{number})s::text")
