"""The ledger on PostgreSQL: arrays in, SKIP LOCKED, settle and gate in one transaction and one round trip."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from django.db import connection

from newsletters.delivery.dialects import postgresql_fan_out
from newsletters.delivery.dialects.pipeline import Command, Rows, Statement, execute, numbers, texts, uuids
from newsletters.delivery.dialects.words import Chunk, Claimed, Gate, Refused, Settlement

# An issue's rows are all new, so the planner's statistics are about an empty table, and a plan made then is kept:
# it would read whole tables for a handful of rows. Every statement here finds its rows by an index. What is
# switched off counts as dear, so that reading a tiny table whole would be worth compiling (JIT). The settings
# last for the session, or for the transaction where a pooler hands the next one to another session.
_BY_INDEX = """
SELECT set_config('enable_seqscan', 'off', {0}), set_config('enable_hashjoin', 'off', {0}),
       set_config('enable_mergejoin', 'off', {0}), set_config('plan_cache_mode', 'force_generic_plan', {0}),
       set_config('jit', 'off', {0})
"""
BY_INDEX = Statement(b"courant_by_index", _BY_INDEX.format("false").encode())
BY_INDEX_LOCALLY = Statement(b"courant_by_index", _BY_INDEX.format("true").encode())
# The rows come back as one JSON array, which is read faster than a value at a time.
CLAIM = """
WITH due AS (
    SELECT d.id, d.subscription_id FROM newsletters_delivery d
    WHERE d.issue_id = $1::bigint AND d.state = 'queued' AND d.kills {kills}
      AND d.next_at <= statement_timestamp()
      AND EXISTS (SELECT FROM newsletters_issue i WHERE i.id = $1::bigint AND i.state = 'sending')
    ORDER BY d.next_at, d.id LIMIT {limit} FOR UPDATE OF d SKIP LOCKED),
claimed AS (
    UPDATE newsletters_delivery d
    SET state = 'sending', lease_token = $2::uuid, gated = false,
        lease_until = statement_timestamp() + $3::int * interval '1 second'
    FROM due LEFT JOIN newsletters_subscription s ON s.id = due.subscription_id
        LEFT JOIN newsletters_subscriber r ON r.id = s.subscriber_id
    WHERE d.id = due.id
    RETURNING d.id, d.subscription_id, r.address, d.attempts, d.uncertain_outcomes, d.merge)
SELECT json_agg(json_build_array(id, subscription_id, address, attempts, uncertain_outcomes, merge) ORDER BY id)
FROM claimed
"""
# A row has a lease if and only if it is `sending` (a constraint). Saying `state = 'sending'` here would lead the
# planner, whose statistics are from before the issue, to walk the partial index of all leased rows.
# A reply often quotes the address, so an erased reader's is not kept.
SETTLE = Statement(
    b"courant_settle",
    b"""
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
FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::float8[], $6::smallint[], $7::smallint[],
            $8::text[], $9::text[], $10::smallint[], $11::text[], $12::text[])
    AS v(id, lease, intent, state, delay, counted, uncertain, reason, phase, code, status, text)
WHERE d.id = v.id AND (
    (v.state = 'sent' AND d.intent_id = v.intent AND d.state IN ('queued', 'sending'))
    OR (v.state <> 'sent' AND d.lease_token = v.lease))
""",
)
# What SETTLE does for the outcome of nearly every mail, with fewer parameters.
SETTLE_SENT = Statement(
    b"courant_settle_sent",
    b"""
UPDATE newsletters_delivery d
SET state = 'sent', lease_token = NULL, lease_until = NULL, gated = false, attempts = d.attempts + 1, reason = NULL,
    reply_phase = 'dot', reply_code = v.code, reply_status = v.status,
    reply_text = CASE WHEN d.subscription_id IS NOT NULL THEN v.text END, settled_at = statement_timestamp()
FROM unnest($1::bigint[], $2::uuid[], $3::smallint[], $4::text[], $5::text[]) AS v(id, intent, code, status, text)
WHERE d.id = v.id AND d.intent_id = v.intent AND d.state IN ('queued', 'sending')
""",
)
GATE = Statement(
    b"courant_gate",
    b"""
UPDATE newsletters_delivery d SET gated = true, intent_id = v.intent, intent_at = statement_timestamp()
FROM unnest($1::bigint[], $2::uuid[], $3::uuid[]) AS v(id, lease, intent),
    newsletters_issue i, newsletters_subscription s, newsletters_subscriber r
WHERE d.id = v.id AND d.lease_token = v.lease
  AND i.id = d.issue_id AND i.state = 'sending'
  AND s.id = d.subscription_id AND s.state = 'active' AND r.id = s.subscriber_id
  AND NOT EXISTS (SELECT FROM newsletters_suppression x
                  WHERE x.publisher_id = r.publisher_id AND x.address_digest = r.address_digest)
RETURNING d.id
""",
)
REFUSALS = Statement(
    b"courant_refusals",
    b"""
SELECT d.id, coalesce(d.lease_token = v.lease, false), i.state, s.state,
    EXISTS (SELECT FROM newsletters_suppression x
            WHERE x.publisher_id = r.publisher_id AND x.address_digest = r.address_digest)
FROM unnest($1::bigint[], $2::uuid[]) AS v(id, lease)
    JOIN newsletters_delivery d ON d.id = v.id JOIN newsletters_issue i ON i.id = d.issue_id
    LEFT JOIN newsletters_subscription s ON s.id = d.subscription_id
    LEFT JOIN newsletters_subscriber r ON r.id = s.subscriber_id
""",
)
SUPPRESS = Statement(
    b"courant_suppress",
    b"""
INSERT INTO newsletters_suppression (publisher_id, address_digest, reason)
SELECT DISTINCT r.publisher_id, r.address_digest, 'bounced'
FROM unnest($1::bigint[], $2::int[]) AS v(id, least)
    JOIN newsletters_delivery d ON d.id = v.id AND d.state = 'bounced'
    JOIN newsletters_subscription s ON s.id = d.subscription_id
    JOIN newsletters_subscriber r ON r.id = s.subscriber_id
WHERE v.least = 1 OR v.least <= (
    SELECT count(*) FROM newsletters_subscription bs JOIN newsletters_issue bi ON bi.newsletter_id = bs.newsletter_id
        JOIN newsletters_delivery b ON b.issue_id = bi.id AND b.subscription_id = bs.id
    WHERE bs.subscriber_id = r.id AND b.state = 'bounced' AND b.reason = d.reason)
ON CONFLICT DO NOTHING
""",
)
RENEW = Statement(
    b"courant_renew",
    b"""
UPDATE newsletters_delivery d SET lease_until = statement_timestamp() + $1::int * interval '1 second'
FROM unnest($2::bigint[], $3::uuid[]) AS v(id, lease)
WHERE d.id = v.id AND d.lease_token = v.lease
""",
)


class PostgreSQL:
    """Statements for PostgreSQL 14 and later, past Django's cursors."""

    def claim(self, issue_id: int, *, limit: int, lease_seconds: int, suspects: bool) -> list[Claimed]:
        lease = uuid.uuid4()
        parameters = [b"%d" % issue_id, lease.hex.encode(), b"%d" % lease_seconds]
        ((((document,),)),) = _run((_claim_of(limit, suspects=suspects), parameters))
        return [
            Claimed(pk, lease, subscription_id, address, attempts, uncertain_outcomes, merge or {})
            for pk, subscription_id, address, attempts, uncertain_outcomes, merge in json.loads(document or b"[]")
        ]

    def turn(self, settlements: Sequence[Settlement], gates: Sequence[Gate]) -> set[int]:
        commands: list[Command] = []
        sent: list[Settlement] = []
        others: list[Settlement] = []
        for settlement in settlements:
            (sent if settlement.is_plainly_sent else others).append(settlement)
        suppress = [s for s in others if s.suppress_after]
        if sent:
            commands.append((SETTLE_SENT, _sent_columns(sent)))
        if others:
            commands.append((SETTLE, _settle_columns(others)))
        if suppress:
            ids, least = [s.delivery_id for s in suppress], [s.suppress_after for s in suppress]
            commands.append((SUPPRESS, [numbers(ids), numbers(least)]))
        if not gates:
            if commands:
                _run(*commands)
            return set()
        *_, permitted = _run(*commands, (GATE, _gate_columns(gates)))
        return {_int(row[0]) for row in permitted}

    def refusals(self, gates: Sequence[Gate]) -> list[Refused]:
        (rows,) = _run((REFUSALS, _gate_columns(gates)[:2]))
        return [
            Refused(_int(pk), held == b"t", _text(issue) or "", _text(subscription), suppressed == b"t")
            for pk, held, issue, subscription, suppressed in rows
        ]

    def renew(self, held: Mapping[int, uuid.UUID], *, lease_seconds: int) -> None:
        _run((RENEW, [b"%d" % lease_seconds, numbers(held.keys()), uuids(held.values())]))

    def fan_out(self, issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
        return postgresql_fan_out.insert_chunk(
            issue_id, after=after, limit=limit, state=state, merge_fields=merge_fields
        )

    def tell_planner(self) -> None:
        postgresql_fan_out.tell_planner()


def _run(*commands: Command) -> list[Rows]:
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    pooled = bool(connection.settings_dict.get("DISABLE_SERVER_SIDE_CURSORS"))
    with connection.wrap_database_errors:
        setting = BY_INDEX_LOCALLY if pooled else BY_INDEX
        return execute(raw, commands, prepare=not pooled, setting=setting)


@functools.lru_cache(maxsize=64)
def _claim_of(limit: int, *, suspects: bool) -> Statement:
    # As a parameter, the planner would take the limit for a tenth of the table and join by hashing all readers.
    claim = CLAIM.format(limit=int(limit), kills="> 0" if suspects else "= 0")
    return Statement(b"courant_claim_%s_%d" % (b"suspects" if suspects else b"rows", limit), claim.encode())


def _gate_columns(gates: Sequence[Gate]) -> list[bytes]:
    return [
        numbers([gate.delivery_id for gate in gates]),
        uuids([gate.lease_token for gate in gates]),
        uuids([gate.intent_id for gate in gates]),
    ]


def _sent_columns(settlements: Sequence[Settlement]) -> list[bytes]:
    return [
        numbers([s.delivery_id for s in settlements]),
        uuids([s.intent_id for s in settlements]),
        texts([s.reply_code for s in settlements]),
        texts([s.reply_status for s in settlements]),
        texts([s.reply_text for s in settlements]),
    ]


def _settle_columns(settlements: Sequence[Settlement]) -> list[bytes]:
    ids, leases, intents, *others = zip(*(settlement.values() for settlement in settlements), strict=True)
    return [numbers(ids), uuids(leases), uuids(intents), *map(texts, others)]


def _int(value: bytes | None) -> int:
    assert value is not None
    return int(value)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
