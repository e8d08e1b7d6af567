"""One clock leads, a dead one is replaced, and a broker in trouble stops only the doorbell's thread."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dramatiq
import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now
from dramatiq.brokers.stub import StubBroker

from core.clock import LEASE, Clock, Question, give_up_lease, note_leap, take_lease
from core.database import database_now
from core.doorbell import Bell, Doorbell
from core.models import ClockLease

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def wait_for(done: Callable[[], bool], *, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)


@pytest.fixture
def actor() -> dramatiq.Actor[[int], None]:
    """An actor on a broker of its own."""
    broker = StubBroker(middleware=[])

    def note(row_id: int) -> None:
        raise AssertionError(row_id)

    return dramatiq.Actor(note, broker=broker, actor_name="note", queue_name="default", priority=0, options={})


def messages(actor: dramatiq.Actor[[int], None]) -> list[int]:
    queue = actor.broker.queues["default"]
    return [dramatiq.Message.decode(raw).args[0] for raw in list(queue.queue)]


def test_one_holder_leads_until_its_lease_ends() -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    assert take_lease(first)
    assert not take_lease(second)
    assert take_lease(first)
    ClockLease.objects.update(until=Now() - timedelta(seconds=1))
    assert take_lease(second)
    assert not take_lease(first)


def test_a_lease_given_up_is_free_at_once() -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    assert take_lease(first)
    give_up_lease(second)
    assert not take_lease(second)
    give_up_lease(first)
    assert take_lease(second)


def test_a_lease_from_the_future_shows_a_leap_until_all_has_been_done_about_it() -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    assert take_lease(first)
    assert not note_leap()
    ClockLease.objects.update(until=Now() + LEASE + timedelta(hours=2))

    def fail() -> None:
        raise OperationalError

    with pytest.raises(OperationalError):
        note_leap([fail])
    assert not take_lease(first)
    done: list[int] = []
    assert note_leap([lambda: done.append(1), lambda: done.append(2)])
    assert not note_leap([lambda: done.append(3)])
    assert done == [1, 2]
    assert take_lease(second)


@pytest.mark.django_db(transaction=True)
def test_two_clocks_racing_for_the_lease_have_one_winner() -> None:
    barrier, wins = threading.Barrier(8), []

    def race() -> None:
        barrier.wait()
        wins.append(take_lease(uuid.uuid4()))
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


@pytest.mark.django_db(transaction=True)
def test_a_clock_acts_on_a_leap_before_it_leads_again() -> None:
    take_lease(uuid.uuid4())
    ClockLease.objects.update(until=Now() + LEASE + timedelta(hours=2))
    acts: list[int] = []
    clock = Clock([], [lambda: acts.append(1)])
    clock.start()
    try:
        wait_for(lambda: ClockLease.objects.filter(holder=clock._holder).exists())
    finally:
        clock.stop()
    assert acts == [1]


@pytest.mark.django_db(transaction=True)
def test_a_leader_notices_a_leap_there_and_back_between_two_renewals(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = timedelta(0)
    monkeypatch.setattr("core.clock.database_now", lambda: database_now() + ahead)
    monkeypatch.setattr("core.clock.RENEW_SECONDS", 3_600)
    acts: list[int] = []
    clock = Clock([], [lambda: acts.append(1)])

    def until() -> Any:
        return ClockLease.objects.filter(holder=clock._holder).values_list("until", flat=True).first()

    clock.start()
    try:
        # The first look at the time renews the lease too.
        wait_for(lambda: clock._least_ahead > 0 and clock._renew_at > 0)
        before = until()
        ahead = timedelta(hours=2)
        wait_for(lambda: until() != before)
        assert acts == []
        ahead = timedelta(0)
        wait_for(lambda: acts == [1])
        wait_for(lambda: until() is not None)
    finally:
        clock.stop()
    assert acts == [1]


@pytest.mark.django_db(transaction=True)
def test_the_leader_asks_its_questions_rings_and_reports_the_broker(actor: dramatiq.Actor[[int], None]) -> None:
    asked: list[float] = []

    def broken() -> list[Bell]:
        asked.append(time.monotonic())
        raise ValueError("a mistake in a question")

    clock = Clock([Question(lambda: [Bell(actor, 7)], every=60), Question(broken, every=0.3)])
    clock.start()
    wait_for(lambda: messages(actor) == [7] and len(asked) >= 2)
    wait_for(lambda: ClockLease.objects.get().broker_ok_at is not None)
    clock.drain()
    clock.stop()
    assert ClockLease.objects.get().holder is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [ValueError("a mistake in a question"), OperationalError("a lock was not free")])
def test_a_question_that_always_fails_stops_no_other(error: Exception, actor: dramatiq.Actor[[int], None]) -> None:
    def broken() -> list[Bell]:
        raise error

    clock = Clock([Question(broken), Question(lambda: [Bell(actor, 7)], every=60), Question(broken)])
    clock.start()
    try:
        wait_for(lambda: messages(actor) == [7])
    finally:
        clock.drain()
        clock.stop()


def test_a_bell_is_not_rung_again_while_its_answer_is_awaited(actor: dramatiq.Actor[[int], None]) -> None:
    due = [1, 2]
    question = Question(lambda: [Bell(actor, pk) for pk in due], again=5.0)
    assert [bell.row_id for bell in question.bells(100.0)] == [1, 2]
    due.append(3)
    assert [bell.row_id for bell in question.bells(100.25)] == [3]
    assert [bell.row_id for bell in question.bells(105.1)] == [1, 2]


def test_bells_rung_while_the_broker_is_away_count_once(
    actor: dramatiq.Actor[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[str] = []
    away = threading.Event()
    enqueue = actor.broker.enqueue

    def enqueue_unless_away(message: dramatiq.Message[None], *, delay: int | None = None) -> dramatiq.Message[None]:
        if away.is_set():
            raise ConnectionRefusedError("the broker is away")
        return enqueue(message, delay=delay)

    monkeypatch.setattr(actor.broker, "enqueue", enqueue_unless_away)
    doorbell = Doorbell(reports.append)
    doorbell.start()
    away.set()
    doorbell.ring(Bell(actor, 1))
    wait_for(lambda: reports == ["ConnectionRefusedError"])
    for _ in range(50):
        doorbell.ring(Bell(actor, 2))
    away.clear()
    wait_for(lambda: messages(actor) == [2])
    doorbell.stop()
    assert reports == ["ConnectionRefusedError", ""]
