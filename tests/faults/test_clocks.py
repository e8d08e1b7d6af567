"""F09: workers whose wall clock is wrong, or leaps. All timing is the database's, so nobody may notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.stage import Stage
from tests.services.fake_clock import DAY, FakeClock

READERS = 500


@pytest.fixture
def clocks(tmp_path: Path) -> Iterator[list[FakeClock]]:
    """Two clocks that are right as yet; asked for first, so that they clean up when everything else has stopped."""
    yield [FakeClock(tmp_path / "one"), FakeClock(tmp_path / "other")]
    FakeClock.clean_up()


def send_by_all(stage: Stage, clocks: list[FakeClock]) -> None:
    """Send beside a right worker with one for each clock, and wait until all are at it."""
    for clock in clocks:
        stage.site.start_worker(**clock.environment)
    # So slowly that the first worker is not done before the last has started.
    stage.send_slowly(seconds=5)
    stage.wait_until_all_deliver()
    stage.sink.script({"*": {"delay": 0.3}})


@pytest.mark.parametrize("seconds", [DAY, 70])
def test_f09_workers_whose_clocks_are_wrong_double_nobody(
    clocks: list[FakeClock], make_stage: Callable[..., Stage], seconds: int
) -> None:
    for clock, ahead in zip(clocks, (seconds, -seconds), strict=True):
        clock.leap(ahead)
    stage = make_stage(readers=READERS, workers=1)
    send_by_all(stage, clocks)
    stage.finish().require()


def test_f09_a_worker_whose_clock_leaps_doubles_nobody(
    clocks: list[FakeClock], make_stage: Callable[..., Stage]
) -> None:
    stage = make_stage(readers=READERS, workers=1)
    send_by_all(stage, clocks[:1])
    for ahead in (DAY, -DAY, 70, -70, 0):
        clocks[0].leap(ahead)
        time.sleep(0.5)
    stage.finish().require()
