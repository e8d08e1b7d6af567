"""Turns straight through libpq: errors, lost links, poolers, outer transactions, and texts of every kind."""

from __future__ import annotations

import concurrent.futures
import contextlib
import time
import uuid
from collections.abc import Iterator

import psycopg
import pytest
from django.db import DataError, InterfaceError, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from newsletters.delivery.dialects import Claimed, Gate, Settlement, dialect
from newsletters.delivery.dialects.postgresql import GATE, SETTLE_SENT
from newsletters.models import Delivery
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import claim, gate_of, permit, settle, start, states

pytestmark = pytest.mark.django_db(transaction=True)

REPLY = "250 2.0.0 \"quoted\" 'too' \\ \\\\ {a,b} NULL , ; -- é ü 火 🙂 \t tab"


@pytest.fixture(autouse=True)
def _session_of_its_own() -> Iterator[None]:
    """Let no test see what another has prepared."""
    connection.close()
    yield
    connection.close()


@pytest.fixture
def pooled() -> Iterator[None]:
    terms = connection.settings_dict
    before = terms.get("DISABLE_SERVER_SIDE_CURSORS")
    terms["DISABLE_SERVER_SIDE_CURSORS"] = True
    yield
    terms["DISABLE_SERVER_SIDE_CURSORS"] = before


@contextlib.contextmanager
def another() -> Iterator[BaseDatabaseWrapper]:
    """Yield a session beside the test's, in a transaction of its own."""
    other = connections["default"].copy()
    try:
        other.set_autocommit(False)
        yield other
    finally:
        other.close()


def rows(count: int) -> list[Claimed]:
    newsletter = make_newsletter()
    make_readers(newsletter, count)
    return claim(start(newsletter), count)


def bad(row: Claimed) -> Settlement:
    """Return what the database cannot store: a reason longer than its column."""
    return Settlement(row.delivery_id, row.lease_token, uuid.uuid4(), "bounced", reason="x" * 41)


def setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        found: str = cursor.fetchone()[0]
    return found


def prepared() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_prepared_statements WHERE name LIKE 'courant%%'")
        return {name for (name,) in cursor.fetchall()}


def test_an_error_in_the_middle_undoes_the_turn_and_leaves_the_session_usable() -> None:
    first, second, third = rows(3)
    gate = permit(first)
    session = connection.connection.info.backend_pid
    sent = Settlement(gate.delivery_id, gate.lease_token, gate.intent_id, "sent", counted=1, reply_phase="dot")
    with pytest.raises(DataError):
        dialect().turn([sent, bad(second)], [gate_of(third)])
    assert set(Delivery.objects.values_list("state", "gated")) == {("sending", True), ("sending", False)}
    settle(gate, "sent", counted=1, reply_phase="dot", reply_code=250)
    permit(third)
    assert Delivery.objects.get(pk=first.delivery_id).state == "sent"
    assert connection.connection.info.backend_pid == session
    assert {SETTLE_SENT.name.decode(), GATE.name.decode()} <= prepared()


def test_a_session_whose_first_turn_failed_finds_rows_by_index_all_the_same() -> None:
    (row,) = rows(1)
    connection.close()
    with pytest.raises(DataError):
        dialect().turn([bad(row)], [])
    permit(row)
    assert setting("enable_seqscan") == "off"
    assert setting("plan_cache_mode") == "force_generic_plan"


@pytest.mark.parametrize("begun", [False, True])
def test_inside_an_outer_transaction_nothing_is_committed(begun: bool) -> None:
    (row,) = rows(1)
    connection.close()
    with transaction.atomic():
        if begun:
            assert Delivery.objects.count() == 1
        permit(row)
        transaction.set_rollback(True)
    assert not Delivery.objects.filter(gated=True).exists()
    permit(row)
    assert setting("enable_seqscan") == "off"


def test_a_killed_session_is_an_error_that_django_knows_and_the_next_goes_on() -> None:
    (row,) = rows(1)
    gate = permit(row)
    with another() as killer, killer.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 120000)", [connection.connection.info.backend_pid])
    with pytest.raises((OperationalError, InterfaceError)):
        settle(gate, "sent", counted=1, reply_phase="dot", reply_code=250)
    connection.close()
    settle(gate, "sent", counted=1, reply_phase="dot", reply_code=250)
    assert Delivery.objects.get(pk=row.delivery_id).state == "sent"


def test_a_session_killed_while_its_turn_waits_for_a_row_is_an_error_and_no_hang() -> None:
    first, second = rows(2)
    permit(first)
    gates = [gate_of(first), gate_of(second)]
    with another() as blocker, blocker.cursor() as cursor, concurrent.futures.ThreadPoolExecutor(1) as thread:
        cursor.execute("SELECT FROM newsletters_delivery WHERE id = %s FOR UPDATE", [second.delivery_id])
        killing = thread.submit(_kill_when_it_waits, connection.connection.info.backend_pid)
        with pytest.raises((OperationalError, InterfaceError)):
            dialect().turn([], gates)
        killing.result()
        blocker.rollback()
    connection.close()
    assert dialect().turn([], gates) == {first.delivery_id, second.delivery_id}


def _kill_when_it_waits(pid: int) -> None:
    waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    with another() as killer, killer.cursor() as cursor:
        for _ in range(12_000):
            cursor.execute(waits, [pid])
            if cursor.fetchone()[0]:
                break
            killer.rollback()
            time.sleep(0.01)
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])


def test_a_thousand_settlements_with_long_replies_of_every_kind_arrive_as_they_were() -> None:
    claimed = rows(1000)
    texts = [f"{number} {REPLY}".ljust(500, 'é"\\{'[number % 4])[:500] for number in range(1000)]
    words = dict(zip([row.delivery_id for row in claimed], texts, strict=True))
    gates = [gate_of(row) for row in claimed]
    assert dialect().turn([], gates) == set(words)
    dialect().turn([_settlement(gate, number, words[gate.delivery_id]) for number, gate in enumerate(gates)], [])
    assert dict(Delivery.objects.values_list("pk", "reply_text")) == words
    assert states(Delivery.objects.all()[0].issue) == {"sent": 500, "expired": 500}


def _settlement(gate: Gate, number: int, text: str) -> Settlement:
    return Settlement(
        gate.delivery_id,
        gate.lease_token,
        gate.intent_id,
        "expired" if number % 2 else "sent",
        counted=1,
        reply_phase="dot",
        reply_code=250,
        reply_status="2.0.0",
        reply_text=text,
    )


def test_a_nul_is_refused_and_nothing_else_is_lost_with_it() -> None:
    first, second = rows(2)
    gates = [permit(first), permit(second)]
    with pytest.raises((DataError, ValueError)):
        dialect().turn([_settlement(gates[0], 0, "nul \0 }"), _settlement(gates[1], 0, "fine")], [])
    settle(gates[1], "sent", counted=1, reply_phase="dot", reply_text="fine")
    assert Delivery.objects.get(pk=second.delivery_id).reply_text == "fine"
    assert Delivery.objects.get(pk=first.delivery_id).state == "sending"


@pytest.mark.usefixtures("pooled")
def test_behind_a_pooler_nothing_is_left_in_the_session() -> None:
    first, second = rows(2)
    gate = permit(first)
    with pytest.raises(DataError):
        dialect().turn([bad(second)], [])
    settle(gate, "sent", counted=1, reply_phase="dot", reply_code=250)
    permit(second)
    assert Delivery.objects.get(pk=first.delivery_id).state == "sent"
    assert prepared() == set()
    assert setting("enable_seqscan") == "on"
    assert setting("plan_cache_mode") == "auto"


@pytest.mark.usefixtures("pooled")
def test_behind_a_pooler_each_transaction_finds_rows_by_index() -> None:
    (row,) = rows(1)
    with transaction.atomic():
        permit(row)
        assert setting("enable_seqscan") == "off"
    assert setting("enable_seqscan") == "on"


def test_every_session_prepares_for_itself() -> None:
    first, second = rows(2)
    permit(first)
    connection.close()
    assert prepared() == set()
    permit(second)
    assert GATE.name.decode() in prepared()
    assert isinstance(connection.connection, psycopg.Connection)
