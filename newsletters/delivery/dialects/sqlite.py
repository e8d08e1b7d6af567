"""The ledger on SQLite: one writer at a time (IMMEDIATE), JSON in place of arrays."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from operator import attrgetter

from django.db import connection, transaction

from newsletters.delivery.dialects import sqlite_fan_out
from newsletters.delivery.dialects.words import Chunk, Claimed, Gate, Refused, Settlement

CLAIM = """
UPDATE newsletters_delivery
SET state = 'sending', lease_token = %s, gated = 0,
    lease_until = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s || ' seconds')
WHERE id IN (
    SELECT d.id FROM newsletters_delivery d
    WHERE d.issue_id = %s AND d.state = 'queued' AND d.kills {kills}
      AND d.next_at <= strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')
      AND EXISTS (SELECT 1 FROM newsletters_issue i WHERE i.id = d.issue_id AND i.state = 'sending')
    ORDER BY d.next_at, d.id LIMIT %s)
"""
CLAIMED = """
SELECT d.id, d.subscription_id, r.address, d.attempts, d.uncertain_outcomes, d.merge
FROM newsletters_delivery d LEFT JOIN newsletters_subscription s ON s.id = d.subscription_id
    LEFT JOIN newsletters_subscriber r ON r.id = s.subscriber_id
WHERE d.issue_id = %s AND d.state = 'sending' AND d.lease_token = %s ORDER BY d.id
"""
SETTLE = """
UPDATE newsletters_delivery
SET state = v.state, lease_token = NULL, lease_until = NULL, gated = 0,
    next_at = CASE WHEN v.state = 'queued'
        THEN strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', v.delay || ' seconds') ELSE next_at END,
    attempts = attempts + v.counted,
    uncertain_outcomes = uncertain_outcomes + v.uncertain,
    uncertain = newsletters_delivery.uncertain OR v.uncertain > 0,
    reason = CASE WHEN v.phase IS NULL AND v.reason IS NULL
        THEN newsletters_delivery.reason ELSE v.reason END,
    reply_phase = coalesce(v.phase, reply_phase),
    reply_code = CASE WHEN v.phase IS NULL THEN reply_code ELSE v.code END,
    reply_status = CASE WHEN v.phase IS NULL THEN reply_status ELSE v.status END,
    reply_text = CASE WHEN v.phase IS NULL THEN reply_text WHEN subscription_id IS NOT NULL THEN v.text END,
    settled_at = CASE WHEN v.state = 'queued' THEN NULL ELSE strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now') END
FROM (SELECT value ->> 0 AS id, value ->> 1 AS lease, value ->> 2 AS intent, value ->> 3 AS state,
             value ->> 4 AS delay, value ->> 5 AS counted, value ->> 6 AS uncertain, value ->> 7 AS reason,
             value ->> 8 AS phase, value ->> 9 AS code, value ->> 10 AS status, value ->> 11 AS text
      FROM json_each(%s)) AS v
WHERE newsletters_delivery.id = v.id AND (
    (v.state = 'sent' AND newsletters_delivery.intent_id = v.intent
        AND newsletters_delivery.state IN ('queued', 'sending'))
    OR (v.state <> 'sent' AND newsletters_delivery.state = 'sending' AND newsletters_delivery.lease_token = v.lease))
"""
GATE = """
UPDATE newsletters_delivery SET gated = 1, intent_id = v.intent, intent_at = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')
FROM (SELECT value ->> 0 AS id, value ->> 1 AS lease, value ->> 2 AS intent FROM json_each(%s)) AS v,
    newsletters_issue i, newsletters_subscription s, newsletters_subscriber r
WHERE newsletters_delivery.id = v.id AND newsletters_delivery.state = 'sending'
  AND newsletters_delivery.lease_token = v.lease
  AND i.id = newsletters_delivery.issue_id AND i.state = 'sending'
  AND s.id = newsletters_delivery.subscription_id AND s.state = 'active' AND r.id = s.subscriber_id
  AND NOT EXISTS (SELECT 1 FROM newsletters_suppression x
                  WHERE x.publisher_id = r.publisher_id AND x.address_digest = r.address_digest)
RETURNING id
"""
REFUSALS = """
SELECT d.id, d.state = 'sending' AND d.lease_token = v.value ->> 1, i.state, s.state,
    EXISTS (SELECT 1 FROM newsletters_suppression x
            WHERE x.publisher_id = r.publisher_id AND x.address_digest = r.address_digest)
FROM json_each(%s) AS v JOIN newsletters_delivery d ON d.id = v.value ->> 0
    JOIN newsletters_issue i ON i.id = d.issue_id
    LEFT JOIN newsletters_subscription s ON s.id = d.subscription_id
    LEFT JOIN newsletters_subscriber r ON r.id = s.subscriber_id
"""
SUPPRESS = """
INSERT INTO newsletters_suppression (publisher_id, address_digest, reason)
SELECT DISTINCT r.publisher_id, r.address_digest, 'bounced'
FROM json_each(%s) AS v JOIN newsletters_delivery d ON d.id = v.value ->> 0 AND d.state = 'bounced'
    JOIN newsletters_subscription s ON s.id = d.subscription_id
    JOIN newsletters_subscriber r ON r.id = s.subscriber_id
WHERE v.value ->> 1 = 1 OR v.value ->> 1 <= (
    SELECT count(*) FROM newsletters_subscription bs JOIN newsletters_issue bi ON bi.newsletter_id = bs.newsletter_id
        JOIN newsletters_delivery b ON b.issue_id = bi.id AND b.subscription_id = bs.id
    WHERE bs.subscriber_id = r.id AND b.state = 'bounced' AND b.reason = d.reason)
ON CONFLICT DO NOTHING
"""
RENEW = """
UPDATE newsletters_delivery SET lease_until = strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', %s || ' seconds')
FROM json_each(%s) AS v
WHERE newsletters_delivery.id = v.value ->> 0 AND state = 'sending' AND lease_token = v.value ->> 1
"""


class SQLite:
    """Statements for SQLite 3.38 and later; every transaction is IMMEDIATE, so there is nothing to skip."""

    def claim(self, issue_id: int, *, limit: int, lease_seconds: int, suspects: bool) -> list[Claimed]:
        lease = uuid.uuid4()
        with transaction.atomic(), connection.cursor() as cursor:
            statement = CLAIM.format(kills="> 0" if suspects else "= 0")
            cursor.execute(statement, [lease.hex, lease_seconds, issue_id, limit])
            if not cursor.rowcount:
                return []
            cursor.execute(CLAIMED, [issue_id, lease.hex])
            rows = cursor.fetchall()
        return [
            Claimed(row[0], lease, row[1], row[2], row[3], row[4], json.loads(row[5]) if row[5] else {}) for row in rows
        ]

    def turn(self, settlements: Sequence[Settlement], gates: Sequence[Gate]) -> set[int]:
        with transaction.atomic(), connection.cursor() as cursor:
            if settlements:
                cursor.execute(SETTLE, [_json(settlements)])
            suppress = [(s.delivery_id, s.suppress_after) for s in settlements if s.suppress_after]
            if suppress:
                cursor.execute(SUPPRESS, [json.dumps(suppress)])
            if not gates:
                return set()
            cursor.execute(GATE, [_json(gates)])
            return {row[0] for row in cursor.fetchall()}

    def refusals(self, gates: Sequence[Gate]) -> list[Refused]:
        with connection.cursor() as cursor:
            cursor.execute(REFUSALS, [_json(gates)])
            return [Refused(row[0], bool(row[1]), row[2], row[3], bool(row[4])) for row in cursor.fetchall()]

    def renew(self, held: Mapping[int, uuid.UUID], *, lease_seconds: int) -> None:
        rows = json.dumps([(pk, token.hex) for pk, token in held.items()])
        with connection.cursor() as cursor:
            cursor.execute(RENEW, [lease_seconds, rows])

    def fan_out(self, issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
        return sqlite_fan_out.insert_chunk(issue_id, after=after, limit=limit, state=state, merge_fields=merge_fields)

    def tell_planner(self) -> None:
        """Do nothing: SQLite chooses the same indexes whatever the tables hold."""


def _json(rows: Sequence[Settlement] | Sequence[Gate]) -> str:
    """Return the rows' values as the array that `json_each` takes; SQLite keeps a UUID as its hex digits."""
    return json.dumps([row.values() for row in rows], default=attrgetter("hex"))
