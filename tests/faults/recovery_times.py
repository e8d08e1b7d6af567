"""How long it takes until mails leave again after a fault, with the default settings: `make recovery`.

Not collected by `make test`: each lease runs its full minute here.
"""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.stage import Stage
from tests.faults.test_endings import end, silenced_worker
from tests.services.processes import wait_until

# The defaults of a deployment, except that readers of one domain are not paced.
DEFAULTS = {"DELIVERY_LANES": "32", "DELIVERY_LEASE_SECONDS": "60"}
READERS = 20_000
TURNS = 3
ORPHANS_MOVE_SECONDS = 75
MAILS_LEAVE_SECONDS = 30
# docs/deploy.md. Heroku kills after 30.
ENDS_SECONDS = 25
LEASED = "SELECT DISTINCT lease_token::text FROM newsletters_delivery WHERE state = 'sending'"
STILL_LEASED = "SELECT count(*) FROM newsletters_delivery WHERE lease_token::text = ANY(%s)"


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Iterator[Stage]:
    """Return a site that sends slowly enough to be at work for the whole scenario."""
    made = make_stage(readers=READERS, workers=2, **DEFAULTS)
    made.sink.script({"*": {"delay": 1}})
    made.send()
    made.wait_for_mails(200)
    yield made
    # The rest need not be sent slowly.
    made.sink.script({"*": {}})
    made.finish(seconds=300).require(dups=made.bound)


def report(what: str, seconds: list[float]) -> None:
    """Print a row of the table; `pytest -rP` shows what passed tests print."""
    print(f"{what}: median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s of {len(seconds)}")  # noqa: T201


def until_orphans_move(stage: Stage, kill: Callable[[], None]) -> float:
    """Return the seconds from the death of every worker to the moment that none of their rows is leased to them."""
    kill()
    began = time.monotonic()
    tokens = [row[0] for row in stage.query(LEASED)]
    assert tokens, "nothing was in flight"
    wait_until(lambda: stage.query(STILL_LEASED, tokens) == [(0,)], "orphans move", seconds=ORPHANS_MOVE_SECONDS)
    return time.monotonic() - began


def until_mails_leave(stage: Stage) -> float:
    """Return the seconds until the relay has got another mail."""
    began, before = time.monotonic(), stage.sink.count()
    wait_until(lambda: stage.sink.count() > before, "mails leave again", seconds=MAILS_LEAVE_SECONDS)
    return time.monotonic() - began


def test_rows_of_killed_workers_move_again(stage: Stage) -> None:
    def kill() -> None:
        for number in range(2):
            stage.kill_worker(number)

    found = []
    for _ in range(TURNS):
        found.append(until_orphans_move(stage, kill))
        stage.wait_for_mails(stage.sink.count() + 200)
    report("orphans of SIGKILL move", found)


def test_rows_of_a_worker_that_hangs_move_again(stage: Stage) -> None:
    groups = [worker.program for worker in stage.site.workers]
    stage.bound += stage.connections

    def stop() -> None:
        for group in groups:
            group.send_group(signal.SIGSTOP)
        # Somebody must be left who can move them; its own rows come later than the question.
        stage.site.start_worker()

    found = until_orphans_move(stage, stop)
    for group in groups:
        group.send_group(signal.SIGCONT)
    report("orphans of SIGSTOP move", [found])


@pytest.mark.parametrize(
    "act", ["wipe_broker", "purge_broker", "restart_database", "kill_database", "kill_both_workers"]
)
def test_mails_leave_again(stage: Stage, act: str) -> None:
    def kill_both_workers() -> None:
        stage.kill_worker(0)
        stage.kill_worker(1)

    acts = {"kill_both_workers": kill_both_workers}
    found = []
    for _ in range(TURNS):
        acts.get(act, getattr(stage, act, None))()  # type: ignore[misc]
        found.append(until_mails_leave(stage))
        stage.wait_for_mails(stage.sink.count() + 200)
    report(f"mails leave after {act}", found)


@pytest.mark.parametrize("act", ["stop_broker", "freeze_broker"])
def test_mails_leave_again_after_a_long_absence(stage: Stage, act: str) -> None:
    getattr(stage, act)(seconds=40)
    report(f"mails leave after {act} of 40 s", [until_mails_leave(stage)])


def test_a_worker_ends_when_its_servers_do_not_answer(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(workers=0, DELIVERY_LEASE_SECONDS=DEFAULTS["DELIVERY_LEASE_SECONDS"])
    with silenced_worker(stage):
        took = end(stage)
    stage.finish().require(dups=stage.bound)
    assert took <= ENDS_SECONDS
