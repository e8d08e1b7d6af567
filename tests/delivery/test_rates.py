"""A sender's `max_rate`: permits from the database, kept by all processes together."""

from __future__ import annotations

import concurrent.futures
import datetime
import time

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now

from newsletters.delivery.rates import (
    BURST_SECONDS,
    HORIZON_SECONDS,
    UNLIMITED,
    Permits,
    SenderLimits,
    limits,
    reserve,
)
from newsletters.models import SenderIdentity, SenderPace
from tests.cast import make_publisher, make_sender

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]
HUNGRY_SECONDS, TIMES = 2, 8


def sender_with(rate: float | None) -> int:
    sender = make_sender(make_publisher())
    change(sender.pk, rate)
    return sender.pk


def change(sender_id: int, rate: float | None) -> None:
    assert SenderIdentity.objects.filter(pk=sender_id).update(max_rate=rate) == 1


def let_pass(seconds: float) -> None:
    """Make the database's clock look as if so much time had gone by for every sender."""
    SenderPace.objects.update(next_at=F("next_at") - datetime.timedelta(seconds=seconds))


def database_now() -> datetime.datetime:
    now: datetime.datetime = SenderIdentity.objects.values_list(Now(), flat=True)[0]
    return now


def test_a_sender_without_a_limit_or_gone_is_unlimited() -> None:
    assert reserve(sender_with(None), want=5) == UNLIMITED
    assert reserve(0, want=5) == UNLIMITED
    assert not SenderPace.objects.exists()


def test_limits_are_read_as_they_are_now() -> None:
    sender_id = sender_with(14.0)
    SenderIdentity.objects.update(max_connections=3)
    assert limits(sender_id) == SenderLimits(14.0, 3)
    change(sender_id, None)
    assert limits(sender_id) == SenderLimits(None, 3)
    assert limits(0) == SenderLimits(None, None)


def test_permits_follow_one_another_at_the_rate_up_to_the_horizon() -> None:
    sender_id = sender_with(100.0)
    first = reserve(sender_id, want=20)
    assert (first.rate, first.count, first.interval) == (100.0, 20, 0.01)
    assert -BURST_SECONDS <= first.first_in <= 0.0
    before = database_now()
    rest = reserve(sender_id, want=1000)
    # The second block begins where the first ended, less the moment between the two.
    assert rest.first_in <= 0.2
    assert rest.count == pytest.approx(0.5 + (HORIZON_SECONDS - rest.first_in) * 100, abs=0.501)
    none = reserve(sender_id, want=1000, horizon=0.0)
    # Nothing, unless almost as much time has gone by as was given out.
    took = (database_now() - before).total_seconds()
    assert none.count <= max(0.0, took - 0.8 * HORIZON_SECONDS) * 100
    assert none.retry_in == pytest.approx(max(0.0, none.first_in + none.count / 100))


@pytest.mark.parametrize("rate", [0.02, 1 / 3600])
def test_a_slow_sender_gets_one_permit_and_is_told_when_to_ask_again(rate: float) -> None:
    sender_id = sender_with(rate)
    assert reserve(sender_id, want=10).count == 1
    refused = reserve(sender_id, want=10)
    assert refused.count == 0
    assert 0 < refused.retry_in <= 1 / rate - HORIZON_SECONDS
    let_pass(refused.retry_in)
    granted = reserve(sender_id, want=10)
    assert granted.count == 1
    assert -BURST_SECONDS <= granted.first_in <= HORIZON_SECONDS + 0.001


def test_what_nobody_asked_for_is_made_up_for_no_more_than_the_burst() -> None:
    sender_id = sender_with(100.0)
    reserve(sender_id, want=1)
    let_pass(3600)
    block = reserve(sender_id, want=1000)
    assert block.first_in == -BURST_SECONDS
    assert block.count == 1 + (BURST_SECONDS + HORIZON_SECONDS) * 100


def test_a_raised_limit_counts_at_once_whatever_the_old_one_gave_out() -> None:
    sender_id = sender_with(0.01)
    assert reserve(sender_id, want=1).count == 1
    assert reserve(sender_id, want=1).retry_in > 90
    change(sender_id, 100.0)
    assert reserve(sender_id, want=1).retry_in == pytest.approx(0.01)
    let_pass(0.01)
    assert reserve(sender_id, want=10).count >= 1


def test_a_lowered_limit_counts_with_the_next_block() -> None:
    sender_id = sender_with(1000.0)
    reserve(sender_id, want=1000)
    change(sender_id, 0.1)
    let_pass(reserve(sender_id, want=0).retry_in)
    assert reserve(sender_id, want=1000).count == 1
    assert 5 < reserve(sender_id, want=1000).retry_in <= 10


def test_a_clock_that_was_set_back_stops_nobody() -> None:
    sender_id = sender_with(10.0)
    reserve(sender_id, want=1)
    let_pass(-3600)
    assert reserve(sender_id, want=1).retry_in == pytest.approx(0.1)


@pytest.mark.parametrize("rate", [0.5, 14.0, 200.0, 2000.0])
def test_in_a_minute_four_hungry_processes_get_what_the_limit_allows(rate: float) -> None:
    sender_id = sender_with(rate)
    reserve(sender_id, want=1)
    began, passed, granted = database_now(), 0.0, 0
    while passed < 60:
        for _ in range(4):
            granted += reserve(sender_id, want=max(1, int(rate / 5))).count
        let_pass(0.4)
        passed += 0.4
    seconds = passed + (database_now() - began).total_seconds()
    assert granted <= rate * (seconds + HORIZON_SECONDS + BURST_SECONDS) + 1
    assert granted >= rate * 60 * 0.95


@pytest.mark.parametrize("rate", [14.0, 2000.0])
def test_processes_that_race_for_permits_are_never_given_the_same_ones(rate: float) -> None:
    sender_id = sender_with(rate)
    shares: list[float] = []
    # Never more, and as many in one of the times at least: a machine that is busy may be too slow in others.
    while not shares or (max(shares) < 0.95 and len(shares) < TIMES):
        shares.append(be_hungry_together(sender_id, rate) / (rate * HUNGRY_SECONDS))
    assert max(shares) >= 0.95


def be_hungry_together(sender_id: int, rate: float) -> int:
    """Let four processes ask as fast as they can; return how many permits they got, which are not too many."""
    began = database_now()
    until = time.monotonic() + HUNGRY_SECONDS

    def be_hungry(want: int) -> int:
        granted = 0
        try:
            while time.monotonic() < until:
                block: Permits = reserve(sender_id, want=want)
                granted += block.count
                time.sleep(min(block.retry_in, 0.05))
        finally:
            connection.close()
        return granted

    with concurrent.futures.ThreadPoolExecutor(4) as processes:
        granted = sum(processes.map(be_hungry, [1, 3, 50, 200]))
    # No count depends on how fast this machine is: the database's clock says how long it took.
    seconds = (database_now() - began).total_seconds()
    assert granted <= rate * (seconds + HORIZON_SECONDS + BURST_SECONDS) + 1
    last = SenderPace.objects.values_list("next_at", flat=True).get()
    # Each permit moved the row by one interval, and idle moments moved it further.
    assert granted <= rate * ((last - began).total_seconds() + BURST_SECONDS) + 1
    return granted
