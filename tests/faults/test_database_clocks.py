"""F10: the database's clock leaps. It times everything, so mails in flight may double; nobody waits for its hours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.stage import SHORT_LEASE, Stage
from tests.services.fake_clock import FakeClock
from tests.services.postgresql import Postgresql
from tests.services.processes import wait_until

READERS = 500
LEAP = 7_200
# Whoever waits for the hours of a leap waits far longer.
STUCK_SECONDS = 600
LOOKED = "SELECT until BETWEEN now() AND now() + interval '16 s' FROM core_clocklease"


@pytest.fixture(scope="module")
def clock() -> Iterator[tuple[FakeClock, Postgresql]]:
    """A server with a clock of its own."""
    server = Postgresql(durable=True)
    clock = FakeClock(server.folder / "clock")
    server.variables |= clock.environment
    try:
        server.start()
        yield clock, server
    finally:
        server.stop()
        FakeClock.clean_up()


@pytest.fixture
def postgresql(clock: tuple[FakeClock, Postgresql]) -> Postgresql:
    """The server whose clock leaps, in place of the one that all other tests share."""
    clock[0].leap(0)
    return clock[1]


@pytest.fixture
def leap(clock: tuple[FakeClock, Postgresql]) -> Callable[[Stage, int], None]:
    """Return a function that sets the database's clock so many seconds ahead."""
    now = 0

    def leap(stage: Stage, ahead: int) -> None:
        nonlocal now
        if ahead > now:
            # Every lease has run out, so every mail in flight is in doubt.
            stage.bound += stage.connections
        clock[0].leap(ahead)
        now = ahead
        if ahead:
            # Within a tick: a leap that is over before the leader has looked leaves no trace.
            wait_until(lambda: stage.query(LOOKED) == [(True,)], "the leader has looked", seconds=180)

    return leap


def finish(stage: Stage) -> None:
    sane = time.monotonic()
    found = stage.finish(seconds=STUCK_SECONDS)
    print(f"sent after {time.monotonic() - sane:.1f} s; {found.dups} copies, {stage.bound} allowed")  # noqa: T201
    found.require(dups=stage.bound)


@pytest.mark.parametrize("ahead", [LEAP, -LEAP])
def test_f10_a_database_clock_that_leaps_there_and_back_strands_nobody(
    make_stage: Callable[..., Stage], leap: Callable[[Stage, int], None], ahead: int
) -> None:
    stage = make_stage(readers=READERS, **SHORT_LEASE)
    stage.send_slowly()
    stage.wait_for_mails(READERS // 10)
    leap(stage, ahead)
    stage.wait_for_mails(stage.sink.count() + READERS // 10)
    # Its rows have leases of the wrong hour, which nobody renews.
    stage.kill_worker(0)
    leap(stage, 0)
    finish(stage)


def test_f10_an_issue_that_begins_while_the_database_is_ahead_strands_nobody(
    make_stage: Callable[..., Stage], leap: Callable[[Stage, int], None]
) -> None:
    stage = make_stage(readers=READERS, **SHORT_LEASE)
    leap(stage, LEAP)
    # No mail was in flight yet.
    stage.bound = 0
    stage.send_slowly()
    stage.wait_for_mails(READERS // 5)
    leap(stage, 0)
    # Nor does the election of the clock wait for the hours that its dead leader was given.
    stage.kill_worker(0)
    stage.kill_worker(1)
    finish(stage)
