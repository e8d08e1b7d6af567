"""At a million ledger rows, every statement of delivery and of the clock touches pages for what it asks, not for all.

The statements are the ones that the code sends: PostgreSQL itself reports the plan of each that it carries out
(auto_explain), prepared ones with the plan that was kept. The ledger is looked at in two conditions. In `stale` the
statistics are from before the issue and all plans were made while there was no row of it, as in a worker that has
waited for its first big issue after a small one. In `fresh` the table has just been analysed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from newsletters.actors import QUESTIONS
from newsletters.audience.subscribing import erase_subscriber
from newsletters.delivery.dialects import Claimed, Gate, Settlement, dialect
from newsletters.models import Delivery, Issue, Newsletter, Subscriber
from newsletters.publishing import fan_out as fanning_out
from tests.cast import make_issue, make_newsletter, make_reader
from tests.delivery.acts import gate_of

pytestmark = pytest.mark.django_db
READERS = 500_000
BIG = {f"newsletters_{name}" for name in ("delivery", "subscription", "subscriber", "suppression", "consentevent")}
LONG_AGO = "2026-01-01T00:00:00Z"
# Pages for one row: it, its reader and its new version, through every index, several of them deep.
PAGES_A_ROW = 100
# And for a statement: the issue, catalogues read for the first time, the upper pages of indexes.
PAGES = 500
READ = """
INSERT INTO newsletters_subscriber
    (public_id, publisher_id, address, address_key, address_digest, name, attributes, updated_at)
SELECT gen_random_uuid(), %(publisher)s, 'r' || g || '@example.org', 'r' || g || '@example.org',
    decode(md5(g::text), 'hex'), 'Reader ' || g, '{}', now() FROM generate_series(1, %(readers)s) g ORDER BY g;
INSERT INTO newsletters_subscription (public_id, subscriber_id, newsletter_id, state)
SELECT gen_random_uuid(), id, %(newsletter)s, 'active' FROM newsletters_subscriber
WHERE publisher_id = %(publisher)s ORDER BY id;
INSERT INTO newsletters_consentevent (subscription_id, state, source, detail)
SELECT id, 'active', 'test', '' FROM newsletters_subscription WHERE newsletter_id = %(newsletter)s ORDER BY id;
INSERT INTO newsletters_suppression (publisher_id, address_digest, reason)
SELECT %(publisher)s, decode(md5((-g)::text), 'hex'), 'bounced' FROM generate_series(1, 50000) g;
INSERT INTO newsletters_delivery (issue_id, subscription_id, state, settled_at)
SELECT %(old)s, id, 'sent', now() FROM newsletters_subscription
WHERE newsletter_id = %(newsletter)s ORDER BY id LIMIT 2000;
ANALYZE
"""
# 200,000 rows of an issue that only waits to be called sent, 300,000 of a cancelled one, and 500,000 of one that is
# being sent: two fifths are sent, two fifths due, a tenth waits, a tenth bounced; 2,000 are leased, 1,000 of them dead.
FILL = """
INSERT INTO newsletters_delivery (issue_id, subscription_id, state, settled_at)
SELECT %(done)s, id, 'sent', now() FROM newsletters_subscription
WHERE newsletter_id = %(newsletter)s ORDER BY id LIMIT 200000;
INSERT INTO newsletters_delivery (issue_id, subscription_id, state)
SELECT %(cancelled)s, id, 'queued' FROM newsletters_subscription
WHERE newsletter_id = %(newsletter)s ORDER BY id LIMIT 300000;
INSERT INTO newsletters_delivery (issue_id, subscription_id, state, reason, next_at, lease_token, lease_until, gated)
SELECT %(running)s, id, state, CASE state WHEN 'bounced' THEN 'mailbox_unable' END,
    now() + CASE WHEN n %% 10 = 9 THEN interval '1 hour' ELSE interval '-1 minute' END,
    CASE state WHEN 'sending' THEN gen_random_uuid() END,
    CASE state WHEN 'sending' THEN now() + CASE WHEN n %% 2 = 0 THEN interval '1 hour' ELSE interval '-1 s' END END,
    state = 'sending' AND n %% 4 < 2
FROM (SELECT id, n, CASE WHEN n < 200000 THEN 'sent' WHEN n < 202000 THEN 'sending' WHEN n %% 10 = 8 THEN 'bounced'
                         ELSE 'queued' END AS state
      FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM newsletters_subscription
            WHERE newsletter_id = %(newsletter)s) AS numbered) AS rows ORDER BY id
"""


class Plans:
    """The plans of all statements since `clear`, with what they really read."""

    def __init__(self) -> None:
        self.found: list[Mapping[str, Any]] = []

    def listen(self, diagnostic: Any) -> None:
        text = diagnostic.message_primary or ""
        if text.startswith("duration:") and "{" in text:
            self.found.append(json.loads(text[text.index("{") :]))

    def check(self, act: Callable[[], object], *, rows: int) -> None:
        """Carry out `act`, which is about so many rows, and look at the plan of everything that it did."""
        self._hear_all()
        self.found.clear()
        act()
        self._hear_all()
        assert self.found
        for found in self.found:
            plan, text = found["Plan"], _outline(found)
            scanned = {node["Relation Name"] for _, node in _nodes(plan) if node["Node Type"] == "Seq Scan"}
            assert not scanned & BIG, text
            assert _pages(plan) <= PAGES + PAGES_A_ROW * rows, text

    @staticmethod
    def _hear_all() -> None:
        # PostgreSQL reports on a query of the ledger when the next one takes the place of its portal.
        with connection.cursor() as cursor:
            cursor.execute("SELECT")


def _pages(node: Mapping[str, Any]) -> int:
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])


def _nodes(plan: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[int, Mapping[str, Any]]]:
    yield depth, plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child, depth + 1)


def _outline(found: Mapping[str, Any]) -> str:
    lines = [found["Query Text"][:500]]
    for depth, node in _nodes(found["Plan"]):
        where = node.get("Index Name") or node.get("Relation Name", "")
        rows = node["Actual Rows"] * node["Actual Loops"]
        lines.append(f"{'  ' * depth}{node['Node Type']} {where}: {_pages(node)} pages, {rows} rows")
    return "\n".join(lines)


@contextmanager
def _undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def newsletter(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Newsletter]:
    """Half a million readers, 50,000 suppressed addresses and 2,000 old ledger rows; statistics about just that."""
    with django_db_blocker.unblock(), _undone():
        made = make_newsletter()
        old = make_issue(made, state="cancelled", started_at=LONG_AGO, finished_at=LONG_AGO).pk
        _run_quickly(READ, old=old, readers=READERS, newsletter=made.pk, publisher=made.publisher_id)
        yield made
    connection.close()


@pytest.fixture(scope="module")
def plans(newsletter: Newsletter) -> Iterator[Plans]:
    plans = Plans()
    wanted = {"log_min_duration": "0", "log_analyze": "on", "log_buffers": "on", "log_timing": "off"}
    wanted |= {"log_nested_statements": "on", "log_format": "json"}
    with connection.cursor() as cursor:
        for name, value in wanted.items():
            cursor.execute(f"SET LOCAL auto_explain.{name} = {value}")
        cursor.execute("SET LOCAL client_min_messages = log")
    connection.connection.add_notice_handler(plans.listen)
    yield plans
    connection.connection.remove_notice_handler(plans.listen)


@pytest.fixture(scope="module")
def issues(newsletter: Newsletter, plans: Plans) -> dict[str, Issue]:
    """The issues of FILL, whose rows come when every plan has been made."""
    begun = dict.fromkeys(("started_at", "resumed_at", "fan_out_done_at"), LONG_AGO)
    made = {
        name: make_issue(newsletter, state=state, **begun)
        for name, state in (("done", "sending"), ("cancelled", "cancelled"), ("running", "sending"))
    }
    with _undone():
        _do_everything(newsletter, made["running"])
    pks = {name: issue.pk for name, issue in made.items()}
    _run_quickly(FILL, newsletter=newsletter.pk, **pks)
    return made


@pytest.fixture(autouse=True)
def _keep_for_a_month(settings: Settings) -> None:
    settings.DELIVERY_RETENTION_DAYS = 30


@pytest.fixture(scope="module", params=["stale", "fresh"])
def ledger(request: pytest.FixtureRequest, issues: dict[str, Issue]) -> Iterator[dict[str, Issue]]:
    with _undone(), connection.cursor() as cursor:
        if request.param == "fresh":
            cursor.execute("ANALYZE newsletters_delivery, newsletters_issue")
        yield issues


def _run_quickly(statements: str, **parameters: int) -> None:
    """Run statements without the triggers and foreign keys, which these rows satisfy."""
    with connection.cursor() as cursor:
        cursor.execute("LOAD 'auto_explain'")
        cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL auto_explain.log_min_duration = -1")
        for statement in statements.split(";"):
            cursor.execute(statement, parameters)
        cursor.execute("SET LOCAL session_replication_role = origin; SET LOCAL auto_explain.log_min_duration = 0")


def _claim(issue: Issue, limit: int = 50, *, suspects: bool = False) -> list[Claimed]:
    return dialect().claim(issue.pk, limit=limit, lease_seconds=60, suspects=suspects)


def _outcome(gate: Gate, state: str, **fields: Any) -> Settlement:
    return Settlement(gate.delivery_id, gate.lease_token, gate.intent_id, state, **fields)


def _do_everything(newsletter: Newsletter, issue: Issue) -> None:
    """Have a worker's session do with one row whatever it will do with a million."""
    for number in range(6):
        reader = make_reader(newsletter, address=f"first-{number}@example.com")
        with _undone():
            Issue.objects.filter(pk=issue.pk).update(
                started_at="2099-01-01T00:00:00Z", fan_out_done_at=None, fan_out_cursor=reader.pk - 1
            )
            fanning_out.fan_out(issue.pk)
            (row,) = _claim(issue)
            _claim(issue, suspects=True)
            gate = gate_of(row)
            dialect().renew({row.delivery_id: row.lease_token}, lease_seconds=60)
            dialect().turn([], [gate])
            dialect().refusals([gate])
            bounced = _outcome(gate, "bounced", reason="mailbox_unable", suppress_after=3)
            dialect().turn([bounced], [gate])
            dialect().turn([_outcome(gate, "sent", counted=1, reply_phase="dot", reply_code=250)], [])


def test_a_claim_reads_what_it_takes(ledger: dict[str, Issue], plans: Plans) -> None:
    taken: list[Claimed] = []
    plans.check(lambda: taken.extend(_claim(ledger["running"])), rows=50)
    assert len(taken) == 50
    assert all(row.address for row in taken)


def test_a_claim_of_suspects_does_not_look_through_everybody_who_waits(ledger: dict[str, Issue], plans: Plans) -> None:
    suspects: list[Claimed] = []
    rows = _claim(ledger["running"], 5)
    Delivery.objects.filter(pk__in=[row.delivery_id for row in rows]).update(
        state="queued", lease_token=None, lease_until=None, kills=1
    )
    plans.check(lambda: suspects.extend(_claim(ledger["running"], 5, suspects=True)), rows=5)
    assert len(suspects) == 5


def test_a_turn_reads_what_it_settles_and_permits(ledger: dict[str, Issue], plans: Plans) -> None:
    rows = _claim(ledger["running"], 64)
    gates = [gate_of(row) for row in rows]
    permitted: list[set[int]] = []
    plans.check(lambda: permitted.append(dialect().turn([], gates)), rows=64)
    assert permitted == [{row.delivery_id for row in rows}]
    sent = [_outcome(gate, "sent", counted=1, reply_phase="dot", reply_code=250) for gate in gates[:32]]
    later = [_outcome(gate, "queued", counted=1, delay=60.0) for gate in gates[32:48]]
    bounced = [_outcome(gate, "bounced", reason="mailbox_unable", suppress_after=3) for gate in gates[48:]]
    plans.check(lambda: dialect().turn([*sent, *later, *bounced], gates[:32]), rows=64)
    assert not {row.delivery_id for row in _claim(ledger["running"], 64)} & {gate.delivery_id for gate in gates}


def test_renewing_and_explaining_refusals_read_the_rows_asked_for(ledger: dict[str, Issue], plans: Plans) -> None:
    rows = _claim(ledger["running"], 64)
    plans.check(lambda: dialect().renew({row.delivery_id: row.lease_token for row in rows}, lease_seconds=60), rows=64)
    strangers = [Gate(row.delivery_id, uuid.uuid4(), uuid.uuid4()) for row in rows]
    plans.check(lambda: dialect().refusals(strangers), rows=64)


# What a question may have to change at once: leases that ran out, a batch of rows of a cancelled issue.
CHANGED = {"reclaim_dead_leases": 1_000, "sweep_cancelled": 10_000}


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_no_question_of_the_clock_reads_a_whole_table(number: int, ledger: dict[str, Issue], plans: Plans) -> None:
    plans.check(QUESTIONS[number].ask, rows=max(CHANGED.values()))


@pytest.mark.parametrize("number", range(len(QUESTIONS)))
def test_a_question_of_the_clock_with_nothing_to_change_reads_a_few_pages(
    number: int, ledger: dict[str, Issue], plans: Plans
) -> None:
    Issue.objects.filter(pk__in=[ledger["cancelled"].pk, ledger["done"].pk]).update(
        state="cancelled", finished_at="2026-01-02T00:00:00Z"
    )
    with connection.cursor() as cursor:
        cursor.execute("UPDATE newsletters_delivery SET lease_until = now() + interval '1 h' WHERE state = 'sending'")
    plans.check(QUESTIONS[number].ask, rows=0)


def test_a_chunk_of_fan_out_reads_its_readers(newsletter: Newsletter, ledger: dict[str, Issue], plans: Plans) -> None:
    newest = Subscriber.objects.filter(publisher=newsletter.publisher_id).order_by("-pk")[2_000]
    cursor = newest.subscriptions.get().pk
    issue = make_issue(newsletter, state="sending", started_at="2099-01-01T00:00:00Z", fan_out_cursor=cursor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fanning_out, "CHUNK", 1_000)
        plans.check(lambda: fanning_out._insert_chunk(issue.pk, ("subscriber.name",)), rows=1_000)
    issue.refresh_from_db()
    assert issue.audience == 1_000


def test_erasing_a_reader_reads_the_readers_own_rows(
    newsletter: Newsletter, ledger: dict[str, Issue], plans: Plans
) -> None:
    reader = Subscriber.objects.filter(publisher=newsletter.publisher_id).order_by("-pk")[100_000]
    # A rare act: planned afresh, with stale statistics it may walk the rows that wait, but never the table.
    plans.check(lambda: erase_subscriber(reader), rows=100)
