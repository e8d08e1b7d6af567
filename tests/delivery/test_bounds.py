"""What one process knows of limits: before a first mail, from second to second, and while others are busy."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from django.db import OperationalError

from newsletters.delivery import bounds as bounds_module
from newsletters.delivery.bounds import Bounds
from newsletters.delivery.destinations import exchange
from newsletters.delivery.editions import Facts
from newsletters.delivery.pacing import Known, Reports, Snapshot
from newsletters.delivery.rates import SenderLimits, limits, reserve
from newsletters.delivery.roster import Roster
from newsletters.delivery.run import Run
from tests.delivery.pacing_acts import SLOW


class Database:
    """Answers what a process asks; `at` is called before each answer, in the middle of the question."""

    def __init__(self) -> None:
        self.max_connections: int | None = None
        self.closed: set[tuple[int, str]] = set()
        self.down = False
        self.asked: list[str] = []
        self.at: dict[str, Callable[[], Awaitable[None]]] = {}

    async def run(self, function: Callable[[], Any]) -> Any:
        what = getattr(function, "func", function)
        name = getattr(what, "__name__", "")
        self.asked.append(name)
        await asyncio.sleep(0)
        if name in self.at:
            await self.at.pop(name)()
        if self.down:
            raise OperationalError("gone")
        if what is limits:
            return SenderLimits(None, self.max_connections)
        if what is exchange:
            return self._exchange(*getattr(function, "args", ()))
        assert what is not reserve
        return None

    def _exchange(self, publishers: set[int], reports: Reports) -> Snapshot:
        self.closed |= {key for key, _ in reports.closures}
        asked = frozenset({*publishers, *(key[0] for key, _ in reports.closures)})
        return Snapshot(asked, [Known(key, None, 300.0, 300) for key in self.closed if key[0] in asked])


def run_of(sender: int, publisher: int = 1) -> Run:
    nothing = cast("Any", None)
    return Run(1, Facts(nothing, "resend", publisher, sender), nothing, nothing, nothing, nothing, nothing, nothing)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def bounds(database: Database, monkeypatch: pytest.MonkeyPatch) -> Bounds:
    made = Bounds(database.run, pacing=True)
    monkeypatch.setattr(Roster, "share", lambda _, total: total)
    monkeypatch.setattr(Roster, "beat_at", float("inf"))
    return made


def test_a_sender_without_a_limit_may_use_every_lane_at_once(bounds: Bounds, database: Database) -> None:
    asyncio.run(bounds.know(run_of(7)))
    assert bounds.connections(7) == sys.maxsize
    # Nothing else stands before the first mail.
    assert sorted(database.asked) == ["exchange", "limits"]


def test_a_limit_is_known_before_the_first_mail_and_an_edit_within_one_tending(
    bounds: Bounds, database: Database
) -> None:
    async def act() -> list[int]:
        found: list[int] = []
        run = run_of(7)
        for limit in (3, 1, None):
            database.max_connections = limit
            await (bounds.tend({run}) if found else bounds.know(run))
            found.append(bounds.connections(7))
        return found

    assert asyncio.run(act()) == [3, 1, sys.maxsize]


def test_a_run_that_begins_while_limits_are_tended_keeps_its_limit(bounds: Bounds, database: Database) -> None:
    database.max_connections = 2
    run = run_of(7)

    async def act() -> list[int]:
        bounds.throttle(7)
        await bounds.know(run)
        # The slice before has ended. While nobody is under way, the next one begins.
        database.at["limits"] = lambda: bounds.know(run)
        bounds.throttle(7)
        await bounds.tend({run_of(8)})
        return [bounds.connections(7)]

    assert asyncio.run(act()) == [2]


def test_tending_goes_on_when_a_sender_comes_back_while_it_is_forgotten(bounds: Bounds) -> None:
    async def act() -> None:
        run = run_of(7)
        throttle = bounds.throttle(7)
        throttle._unlimited = True
        await bounds.know(run)
        # The next slice has begun, but not yet asked for its limits.
        bounds.throttle(7)
        await bounds.tend(set())
        await bounds.know(run)
        await bounds.tend(set())
        await bounds.tend({run})

    asyncio.run(act())


def test_senders_of_long_ago_are_forgotten(bounds: Bounds, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        bounds.throttle(7)
        bounds.throttle(8)
        await bounds.know(run_of(7))
        monkeypatch.setattr(bounds_module, "FORGET_SECONDS", -1.0)
        await bounds.tend({run_of(8)})

    asyncio.run(act())
    assert list(bounds._throttles) == list(bounds._limits) == [8]


def test_a_closure_is_known_before_the_first_mail_of_another_publisher(bounds: Bounds, database: Database) -> None:
    database.closed = {(2, "example.org")}

    async def act() -> tuple[bool, bool]:
        await bounds.know(run_of(7, publisher=1))
        first = bounds.pacing.admit((1, "example.org"))
        await bounds.know(run_of(8, publisher=2))
        return first, bounds.pacing.admit((2, "example.org"))

    assert asyncio.run(act()) == (True, False)


def test_a_closure_learned_for_a_run_that_begins_is_not_forgotten_by_the_tending_beside_it(
    bounds: Bounds, database: Database
) -> None:
    database.closed = {(2, "example.org")}
    runs = {run_of(7, publisher=1)}

    async def begin() -> None:
        await bounds.know(run_of(8, publisher=2))
        # As the courier does, at once.
        runs.add(run_of(8, publisher=2))

    async def act() -> bool:
        beginning = asyncio.ensure_future(begin())
        while "exchange" not in database.asked:  # noqa: ASYNC110  # the fake database has no event
            await asyncio.sleep(0)
        await asyncio.gather(beginning, bounds.tend(runs))
        return bounds.pacing.admit((2, "example.org"))

    assert asyncio.run(act()) is False


def test_what_one_exchange_reports_is_not_taken_for_done_by_another_that_fails(
    bounds: Bounds, database: Database
) -> None:
    run, key = run_of(7), (1, "example.org")

    async def close() -> None:
        for _ in range(8):
            if bounds.pacing.admit(key):
                bounds.pacing.settle(key, SLOW, attempts=1)

    async def fail() -> None:
        database.down = True

    async def act() -> None:
        # While one exchange is under way the destination closes, and another exchange, which will fail, reports it.
        async def meanwhile() -> None:
            await close()
            database.at["exchange"] = fail
            tending.append(asyncio.ensure_future(bounds.tend({run})))
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        tending: list[asyncio.Task[None]] = []
        database.at["exchange"] = meanwhile
        await bounds.know(run)
        await asyncio.gather(*tending)
        assert bounds.pacing.closed_seconds(key) > 0
        database.down = False
        await bounds.tend({run})

    asyncio.run(act())
    assert database.closed == {key}
    assert bounds.pacing.closed_seconds(key) > 0


def test_while_the_database_is_away_what_was_known_stays_true(bounds: Bounds, database: Database) -> None:
    database.max_connections = 2

    async def act() -> int:
        run = run_of(7)
        await bounds.know(run)
        database.down = True
        await bounds.tend({run})
        return bounds.connections(7)

    assert asyncio.run(act()) == 2
