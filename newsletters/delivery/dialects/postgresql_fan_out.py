"""Fan-out on PostgreSQL: one statement a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from django.db import connection

from newsletters.delivery.dialects.words import Chunk

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


def insert_chunk(issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
    """Insert the next rows of an issue's ledger, in the caller's transaction."""
    merge, subscriber, parameters = _merge_expression(merge_fields)
    statement = FAN_OUT.format(merge=merge, subscriber=subscriber)
    parameters |= {
        "issue": issue_id,
        "after": after,
        "limit": limit,
        "state": state,
        "reason": "issue_cancelled" if state == "cancelled" else None,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return Chunk(*cursor.fetchone())


def _merge_expression(fields: Sequence[str]) -> tuple[LiteralString, LiteralString, dict[str, Any]]:
    """Return the expression for the frozen values, the join it needs and its parameters."""
    if not fields:
        return "NULL", "", {}
    expression: LiteralString = (
        "(SELECT jsonb_object_agg(f, CASE f WHEN 'subscriber.name' THEN r.name WHEN 'subscriber.email' THEN r.address "
        "ELSE r.attributes ->> substr(f, 12) END) FROM unnest(%(fields)s::text[]) AS f)"
    )
    return expression, "JOIN newsletters_subscriber r ON r.id = c.subscriber_id", {"fields": list(fields)}
