"""The ledger on PostgreSQL: arrays in, SKIP LOCKED, settle and gate pipelined in one transaction."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import psycopg
from django.db import connection
from psycopg import sql

from newsletters.delivery.dialects import postgresql_fan_out
from newsletters.delivery.dialects.words import Chunk, Claimed, Gate, Refused, Settlement

PREPARE_AFTER = 2
# An issue's rows are all new, so the planner's statistics are about an empty table, and a plan made then is kept:
# it would read whole tables for a handful of rows. Every statement here finds its rows by an index.
BY_INDEX: LiteralString = """
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)
"""
CLAIM: LiteralString = """
WITH due AS (
    SELECT d.id, d.subscription_id FROM newsletters_delivery d
    WHERE d.issue_id = %(issue)s AND d.state = 'queued' AND (d.kills > 0) = %(suspects)s
      AND d.next_at <= statement_timestamp()
      AND EXISTS (SELECT FROM newsletters_issue i WHERE i.id = %(issue)s AND i.state = 'sending')
    ORDER BY d.next_at, d.id LIMIT {limit} FOR UPDATE OF d SKIP LOCKED)
UPDATE newsletters_delivery d
SET state = 'sending', lease_token = %(lease)s, gated = false,
    lease_until = statement_timestamp() + %(seconds)s * interval '1 second'
FROM due LEFT JOIN newsletters_subscription s ON s.id = due.subscription_id
    LEFT JOIN newsletters_subscriber r ON r.id = s.subscriber_id
WHERE d.id = due.id
RETURNING d.id, d.subscription_id, r.address, d.attempts, d.uncertain_outcomes, d.merge
"""
# A row has a lease if and only if it is `sending` (a constraint). Saying `state = 'sending'` here would lead the
# planner, whose statistics are from before the issue, to walk the partial index of all leased rows.
# A reply often quotes the address, so an erased reader's is not kept.
SETTLE: LiteralString = """
UPDATE newsletters_delivery d
SET state = v.state, lease_token = NULL, lease_until = NULL, gated = false,
    next_at = CASE WHEN v.state = 'queued'
        THEN statement_timestamp() + v.delay * interval '1 second' ELSE d.next_at END,
    attempts = d.attempts + v.counted,
    uncertain_outcomes = d.uncertain_outcomes + v.uncertain, uncertain = d.uncertain OR v.uncertain > 0,
    reason = CASE WHEN v.phase IS NULL AND v.reason IS NULL THEN d.reason ELSE v.reason END,
    reply_phase = coalesce(v.phase, d.reply_phase),
    reply_code = CASE WHEN v.phase IS NULL THEN d.reply_code ELSE v.code END,
    reply_status = CASE WHEN v.phase IS NULL THEN d.reply_status ELSE v.status END,
    reply_text = CASE WHEN v.phase IS NULL THEN d.reply_text WHEN d.subscription_id IS NOT NULL THEN v.text END,
    settled_at = CASE WHEN v.state = 'queued' THEN NULL ELSE statement_timestamp() END
FROM unnest(%s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::float8[], %s::smallint[], %s::smallint[],
            %s::text[], %s::text[], %s::smallint[], %s::text[], %s::text[])
    AS v(id, lease, intent, state, delay, counted, uncertain, reason, phase, code, status, text)
WHERE d.id = v.id AND (
    (v.state = 'sent' AND d.intent_id = v.intent AND d.state IN ('queued', 'sending'))
    OR (v.state <> 'sent' AND d.lease_token = v.lease))
"""
GATE: LiteralString = """
UPDATE newsletters_delivery d SET gated = true, intent_id = v.intent, intent_at = statement_timestamp()
FROM unnest(%s::bigint[], %s::uuid[], %s::uuid[]) AS v(id, lease, intent),
    newsletters_issue i, newsletters_subscription s, newsletters_subscriber r
WHERE d.id = v.id AND d.lease_token = v.lease
  AND i.id = d.issue_id AND i.state = 'sending'
  AND s.id = d.subscription_id AND s.state = 'active' AND r.id = s.subscriber_id
  AND NOT EXISTS (SELECT FROM newsletters_suppression x
                  WHERE x.publisher_id = r.publisher_id AND x.address_digest = r.address_digest)
RETURNING d.id
"""
REFUSALS: LiteralString = """
SELECT d.id, coalesce(d.lease_token = v.lease, false), i.state, s.state,
    EXISTS (SELECT FROM newsletters_suppression x
            WHERE x.publisher_id = r.publisher_id AND x.address_digest = r.address_digest)
FROM unnest(%s::bigint[], %s::uuid[]) AS v(id, lease)
    JOIN newsletters_delivery d ON d.id = v.id JOIN newsletters_issue i ON i.id = d.issue_id
    LEFT JOIN newsletters_subscription s ON s.id = d.subscription_id
    LEFT JOIN newsletters_subscriber r ON r.id = s.subscriber_id
"""
SUPPRESS: LiteralString = """
INSERT INTO newsletters_suppression (publisher_id, address_digest, reason)
SELECT DISTINCT r.publisher_id, r.address_digest, 'bounced'
FROM unnest(%s::bigint[], %s::int[]) AS v(id, least)
    JOIN newsletters_delivery d ON d.id = v.id AND d.state = 'bounced'
    JOIN newsletters_subscription s ON s.id = d.subscription_id
    JOIN newsletters_subscriber r ON r.id = s.subscriber_id
WHERE v.least = 1 OR v.least <= (
    SELECT count(*) FROM newsletters_delivery b JOIN newsletters_subscription bs ON bs.id = b.subscription_id
    WHERE bs.subscriber_id = r.id AND b.state = 'bounced' AND b.reason = d.reason)
ON CONFLICT DO NOTHING
"""
RENEW: LiteralString = """
UPDATE newsletters_delivery d SET lease_until = statement_timestamp() + %s * interval '1 second'
FROM unnest(%s::bigint[], %s::uuid[]) AS v(id, lease)
WHERE d.id = v.id AND d.lease_token = v.lease
"""


class PostgreSQL:
    """Statements for PostgreSQL 13 and later, through psycopg's server-side binding."""

    def claim(self, issue_id: int, *, limit: int, lease_seconds: int, suspects: bool) -> list[Claimed]:
        lease = uuid.uuid4()
        parameters = {
            "issue": issue_id,
            "suspects": suspects,
            "lease": lease,
            "seconds": lease_seconds,
        }
        raw, cursor = self._raw(), self._cursor()
        with connection.wrap_database_errors, raw.pipeline(), raw.transaction():
            self._cursor().execute(BY_INDEX)
            cursor.execute(_claim_of(limit), parameters)
        rows = cursor.fetchall()
        return [
            Claimed(row[0], lease, row[1], row[2], row[3], row[4], json.loads(row[5] or "{}")) for row in sorted(rows)
        ]

    def turn(self, settlements: Sequence[Settlement], gates: Sequence[Gate]) -> set[int]:
        suppress = [s for s in settlements if s.suppress_after]
        raw = self._raw()
        gate, rest = self._cursor(), self._cursor()
        with connection.wrap_database_errors, raw.pipeline(), raw.transaction():
            rest.execute(BY_INDEX)
            if settlements:
                rest.execute(SETTLE, _columns(settlements))
            if suppress:
                columns = [s.delivery_id for s in suppress], [s.suppress_after for s in suppress]
                rest.execute(SUPPRESS, columns)
            if gates:
                gate.execute(GATE, _columns(gates))
        return {row[0] for row in gate.fetchall()} if gates else set()

    def refusals(self, gates: Sequence[Gate]) -> list[Refused]:
        with connection.wrap_database_errors, self._cursor() as cursor:
            rows = cursor.execute(REFUSALS, _columns(gates)[:2]).fetchall()
        return [Refused(*row) for row in rows]

    def renew(self, held: Mapping[int, uuid.UUID], *, lease_seconds: int) -> None:
        with connection.wrap_database_errors, self._cursor() as cursor:
            cursor.execute(RENEW, (lease_seconds, list(held.keys()), list(held.values())))

    def fan_out(self, issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
        return postgresql_fan_out.insert_chunk(
            issue_id, after=after, limit=limit, state=state, merge_fields=merge_fields
        )

    @staticmethod
    def _raw() -> psycopg.Connection[Any]:
        connection.ensure_connection()
        raw: psycopg.Connection[Any] = connection.connection
        # Django switches preparing off for a whole connection; a pooler in transaction mode needs it off.
        if not connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"):
            raw.prepare_threshold = PREPARE_AFTER
        return raw

    def _cursor(self) -> psycopg.Cursor[Any]:
        # Django's own cursors bind on the client; the server's binding takes arrays as they are.
        return psycopg.Cursor(self._raw())


@functools.lru_cache(maxsize=64)
def _claim_of(limit: int) -> sql.Composed:
    # As a parameter, the planner would take the limit for a tenth of the table and join by hashing all readers.
    return sql.SQL(CLAIM).format(limit=sql.Literal(limit))


def _columns(rows: Sequence[Settlement] | Sequence[Gate]) -> list[list[Any]]:
    """Return the rows' values as the arrays that `unnest` takes."""
    return [list(column) for column in zip(*(row.values() for row in rows), strict=True)]
