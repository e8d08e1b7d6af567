"""The roster of couriers: who divides the limits on connections, and when."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import time
import uuid

import pytest
from django.db import OperationalError, connection
from django.db.models import F

from newsletters.delivery.roster import BEAT_SECONDS, FRESH_SECONDS, KEPT_SECONDS, SETTLING_BEAT_SECONDS, Roster
from newsletters.models import ActiveCourier

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


class Watch:
    """The clock of processes, which runs as the database's does, and ahead when told to; or one that stands still."""

    def __init__(self, *, runs: bool = True) -> None:
        self.ahead = 1000.0
        self.runs = runs
        self.couriers: list[Roster] = []

    def __call__(self) -> float:
        return self.ahead + (time.monotonic() if self.runs else 0.0)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def courier(number: int, watch: Watch) -> Roster:
    watch.couriers.append(Roster(uuid.UUID(int=number), clock=watch))
    return watch.couriers[-1]


def let_pass(watch: Watch, seconds: float) -> None:
    """Let time go by on the processes' clocks and on the database's, whose now is always: what was, moves back."""
    watch.ahead += seconds
    age(watch, seconds)
    ActiveCourier.objects.update(seen_at=F("seen_at") - datetime.timedelta(seconds=seconds))


def age(watch: Watch, seconds: float) -> None:
    span = datetime.timedelta(seconds=seconds)
    for one in watch.couriers:
        if one._joined_at is not None:
            one._joined_at -= span
        if one._view is not None:
            one._view = dataclasses.replace(one._view, seen_at=one._view.seen_at - span)


def settled(watch: Watch, count: int) -> list[Roster]:
    """Return so many processes that know of one another."""
    couriers = [courier(number, watch) for number in range(count)]
    for _ in range(2):
        for one in couriers:
            one.beat()
            let_pass(watch, 0.01)
    return couriers


def pause(one: Roster) -> float:
    """Return the seconds between a process's last beat and its next."""
    assert one._view is not None
    return round(one.beat_at - one._view.at, 6)


def shares(couriers: list[Roster], total: int) -> list[int]:
    return [one.share(total) for one in couriers]


def test_a_lone_process_has_everything_at_once_and_nothing_before_its_first_beat(watch: Watch) -> None:
    one = courier(1, watch)
    assert (one.share(20), one.beat_at) == (0, 0.0)
    one.beat()
    assert one.share(20) == 20
    assert pause(one) == BEAT_SECONDS


@pytest.mark.parametrize(
    ("total", "parts"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (20, [7, 7, 6]), (1000, [334, 333, 333])]
)
def test_the_parts_of_all_processes_are_the_whole(watch: Watch, total: int, parts: list[int]) -> None:
    assert shares(settled(watch, 3), total) == parts


def test_who_joins_waits_until_the_others_have_noticed(watch: Watch) -> None:
    old, new = courier(1, watch), courier(0, watch)
    old.beat()
    let_pass(watch, 2)
    new.beat()
    assert shares([old, new], 7) == [7, 0]
    assert pause(new) == SETTLING_BEAT_SECONDS
    let_pass(watch, SETTLING_BEAT_SECONDS)
    new.beat()
    assert shares([old, new], 7) == [7, 0]
    let_pass(watch, 1)
    old.beat()
    assert shares([old, new], 7) == [3, 0]
    let_pass(watch, 0.1)
    new.beat()
    assert shares([old, new], 7) == [3, 4]


def test_two_that_start_together_settle_without_waiting_for_a_whole_beat(watch: Watch) -> None:
    one, two = courier(1, watch), courier(2, watch)
    for number in (1, 2):
        # Both rows are there before either looks at the other's.
        ActiveCourier.objects.create(holder=uuid.UUID(int=number))
    for _ in range(2):
        for each in (one, two):
            each.beat()
            let_pass(watch, SETTLING_BEAT_SECONDS)
    assert shares([one, two], 9) == [5, 4]


def test_who_died_blocks_a_new_process_only_until_it_counts_no_more(watch: Watch) -> None:
    dead, new = courier(0, watch), courier(1, watch)
    dead.beat()
    let_pass(watch, 1)
    new.beat()
    let_pass(watch, FRESH_SECONDS - 2)
    new.beat()
    assert new.share(5) == 0
    let_pass(watch, 2)
    new.beat()
    assert new.share(5) == 5
    assert dead.share(5) == 0


def test_the_others_take_over_the_part_of_one_that_leaves(watch: Watch) -> None:
    one, two = settled(watch, 2)
    one.leave()
    assert shares([one, two], 5) == [0, 2]
    two.beat()
    assert shares([one, two], 5) == [0, 5]
    assert ActiveCourier.objects.count() == 1


def test_one_that_cannot_beat_gives_its_part_up_before_the_others_take_it(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = settled(watch, 2)
    two.beat()
    one.beat()

    def away(*_args: object, **_named: object) -> None:
        raise OperationalError("the database is away")

    let_pass(watch, FRESH_SECONDS - 1)
    with monkeypatch.context() as broken:
        broken.setattr(type(ActiveCourier.objects.all()), "bulk_create", away)
        broken.setattr(type(ActiveCourier.objects), "bulk_create", away)
        with pytest.raises(OperationalError):
            one.beat()
    assert one.share(4) == 2
    let_pass(watch, 1)
    assert one.share(4) == 0


def test_one_that_was_stopped_for_long_joins_anew(watch: Watch) -> None:
    one, two = settled(watch, 2)
    for _ in range(4):
        let_pass(watch, BEAT_SECONDS)
        two.beat()
    assert shares([one, two], 4) == [0, 4]
    one.beat()
    assert shares([one, two], 4) == [0, 4]
    let_pass(watch, 0.1)
    two.beat()
    let_pass(watch, 0.1)
    one.beat()
    assert shares([one, two], 4) == [2, 2]


def test_one_whose_own_clock_stood_still_joins_anew_by_the_databases(watch: Watch) -> None:
    asleep = Watch(runs=False)
    one, two = courier(0, asleep), courier(1, watch)
    for each in (one, two, one, two):
        each.beat()
        let_pass(watch, 0.01)
        age(asleep, 0.01)
    assert one.share(4) == 2
    for _ in range(4):
        let_pass(watch, BEAT_SECONDS)
        age(asleep, BEAT_SECONDS)
        two.beat()
    one.beat()
    assert shares([one, two], 4) == [0, 4]


def test_rows_of_those_long_dead_are_removed(watch: Watch) -> None:
    courier(1, watch).beat()
    let_pass(watch, KEPT_SECONDS + 1)
    courier(2, watch).beat()
    assert list(ActiveCourier.objects.values_list("holder", flat=True)) == [uuid.UUID(int=2)]


@pytest.mark.parametrize("total", [1, 5, 64])
def test_whoever_comes_and_goes_no_more_than_the_limit_is_ever_taken(watch: Watch, total: int) -> None:
    couriers: list[Roster] = []
    for number in (5, 3, 8, 1, 9, 2):
        couriers.append(courier(number, watch))
        for _ in range(30):
            for one in couriers:
                if watch() >= one.beat_at:
                    one.beat()
                assert sum(shares(couriers, total)) <= total
            let_pass(watch, SETTLING_BEAT_SECONDS)
        assert sum(shares(couriers, total)) == total
    for gone in (couriers.pop(0), couriers.pop(2)):
        # The first says good-bye, the second is killed: it beats no more.
        if gone.holder == uuid.UUID(int=5):
            gone.leave()
        for _ in range(90):
            let_pass(watch, SETTLING_BEAT_SECONDS)
            for one in couriers:
                if watch() >= one.beat_at:
                    one.beat()
                assert sum(shares([*couriers, gone], total)) <= total
        assert sum(shares(couriers, total)) == total


@pytest.mark.django_db(transaction=True)
def test_processes_that_race_to_join_never_take_more_than_the_limit() -> None:
    couriers = [Roster() for _ in range(4)]

    def beat(one: Roster) -> int:
        try:
            one.beat()
            return one.share(10)
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(4) as processes:
        for _ in range(20):
            list(processes.map(beat, couriers))
            assert sum(shares(couriers, 10)) <= 10
        for _ in range(2):
            list(processes.map(beat, couriers))
    assert sorted(shares(couriers, 10)) == [2, 2, 3, 3]
