"""Fan-out on SQLite: look at the chunk, then insert it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db import connection

from newsletters.delivery.dialects.words import Chunk

CHUNK = """
SELECT count(*), max(id) FROM (
    SELECT s.id FROM newsletters_subscription s JOIN newsletters_issue i ON i.newsletter_id = s.newsletter_id
    WHERE i.id = %s AND s.id > %s ORDER BY s.id LIMIT %s)
"""
FAN_OUT = """
INSERT INTO newsletters_delivery (issue_id, subscription_id, state, reason, settled_at, merge)
SELECT i.id, s.id, %s, %s, CASE WHEN %s <> 'queued' THEN strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now') END, {merge}
FROM newsletters_issue i JOIN newsletters_subscription s ON s.newsletter_id = i.newsletter_id
    JOIN newsletters_subscriber r ON r.id = s.subscriber_id
WHERE i.id = %s AND s.id > %s AND s.id <= %s
  AND CASE WHEN s.changed_at <= i.started_at THEN s.state ELSE (
      SELECT e.state FROM newsletters_consentevent e
      WHERE e.subscription_id = s.id AND e.at <= i.started_at ORDER BY e.at DESC, e.id DESC LIMIT 1) END = 'active'
ORDER BY s.id
ON CONFLICT DO NOTHING
"""


def insert_chunk(issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
    """Insert the next rows of an issue's ledger, in the caller's transaction."""
    merge, parameters = _merge_expression(merge_fields)
    reason = "issue_cancelled" if state == "cancelled" else None
    with connection.cursor() as cursor:
        cursor.execute(CHUNK, [issue_id, after, limit])
        looked_at, last_id = cursor.fetchone()
        if not looked_at:
            return Chunk(0, 0, None)
        statement = FAN_OUT.format(merge=merge)
        cursor.execute(statement, [state, reason, state, *parameters, issue_id, after, last_id])
        return Chunk(looked_at, cursor.rowcount, last_id)


def _merge_expression(fields: Sequence[str]) -> tuple[str, list[str]]:
    """Return the expression for the frozen values and its parameters."""
    if not fields:
        return "NULL", []
    expression = (
        "(SELECT json_group_object(f.value, CASE f.value WHEN 'subscriber.name' THEN r.name "
        "WHEN 'subscriber.email' THEN r.address "
        "ELSE json_extract(r.attributes, '$.' || json_quote(substr(f.value, 12))) END) FROM json_each(%s) AS f)"
    )
    return expression, [json.dumps(list(fields))]
