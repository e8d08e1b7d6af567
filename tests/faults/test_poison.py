"""F15: a mail that kills the worker that writes it. It is held; all others go out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.stage import LANES, SHORT_LEASE, Stage
from tests.services.processes import wait_until

READERS = 300
POISONED = "reader-150@example.org"
KILLS = 3


@pytest.fixture
def send_poison(make_stage: Callable[..., Stage], tmp_path: Path) -> Callable[[str], tuple[Stage, Path]]:
    """Return a function that has two workers send an issue with one poisoned mail; `kind` says what it does."""

    def send(kind: str) -> tuple[Stage, Path]:
        log = tmp_path / "poison.log"
        log.touch()
        stage = make_stage(workers=0, **SHORT_LEASE)
        for _ in range(2):
            stage.site.start_worker(
                DJANGO_SETTINGS_MODULE="tests.faults.poisoned",
                POISON_ADDRESS=POISONED,
                POISON_KIND=kind,
                POISON_LOG=str(log),
            )
        stage.prepare(READERS)
        stage.sink.script({"*": {"delay": 0.03}})
        stage.send()
        return stage, log

    return send


def held(stage: Stage) -> dict[str, object]:
    """Wait until all readers are accounted for, and return the one delivery that is held."""
    stage.site.wait_for_issue(stage.issue_id, "sent", seconds=400)
    (row,) = stage.site.every(f"/issues/{stage.issue_id}/deliveries?state=held")
    return {name: row[name] for name in ("address", "reason", "kills")}


def test_f15_a_mail_that_kills_its_worker_is_held_after_three_kills(
    send_poison: Callable[[str], tuple[Stage, Path]],
) -> None:
    stage, log = send_poison("death")
    assert held(stage) == {"address": POISONED, "reason": "worker_died", "kills": KILLS}
    assert len(log.read_text().splitlines()) == KILLS
    wait_until(lambda: sum(worker.restarts for worker in stage.site.workers) == KILLS, "all run again", seconds=60)
    found = stage.finish()
    # Its own lane had no mail in flight.
    stage.bound = KILLS * (LANES - 1)
    print(f"{found.dups} copies, {stage.bound} allowed")  # noqa: T201
    found.require(dups=stage.bound, held={POISONED})


def test_f15_a_mail_that_takes_all_memory_is_held_and_the_worker_lives(
    send_poison: Callable[[str], tuple[Stage, Path]],
) -> None:
    stage, log = send_poison("memory")
    assert held(stage) == {"address": POISONED, "reason": "composition_failed", "kills": 0}
    assert len(log.read_text().splitlines()) == 1
    stage.finish().require(held={POISONED})
