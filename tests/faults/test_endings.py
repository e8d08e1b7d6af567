"""A worker that is told to end while its servers are away: it ends before a platform kills it, and nobody is lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from tests.faults.stage import LANES, Stage
from tests.services.processes import wait_until
from tests.services.tcp_proxy import Mode, TcpProxy

READERS = 200
# docs/deploy.md says 25, which a busy machine stretches; Heroku kills after 30.
ENDS_SECONDS = 28


def send_a_third(stage: Stage) -> None:
    stage.prepare(READERS)
    stage.sink.script({"*": {"delay": 0.1}})
    stage.send()
    stage.wait_for_mails(READERS // 3)


def end(stage: Stage) -> float:
    """SIGTERM the worker's whole group; return after how many seconds it was gone."""
    [worker] = stage.site.workers
    program, began = worker.program, time.monotonic()
    program.send_group(signal.SIGTERM)
    program.wait(90)
    took = time.monotonic() - began
    print(f"ended after {took:.1f} s")  # noqa: T201
    return took


def test_a_worker_ends_in_time_when_its_servers_have_stopped_answering(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(workers=0)
    with TcpProxy(stage.database.port) as database, TcpProxy(stage.broker.port) as broker:
        stage.site.start_worker(**stage.by_way_of(DATABASE_URL=database, BROKER_URL=broker))
        send_a_third(stage)
        database.turn(Mode.SILENT)
        broker.turn(Mode.SILENT)
        # Every lane has a mail past the dot, or waits for permission for the next.
        stage.rest(seconds=1)
        stage.bound += LANES
        took = end(stage)
        database.turn(Mode.FORWARD)
        broker.turn(Mode.FORWARD)
        stage.finish().require(dups=stage.bound)
    assert took <= ENDS_SECONDS


def test_a_worker_whose_master_was_killed_hands_back_what_it_has_and_ends(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(workers=1, DELIVERY_LEASE_SECONDS="60")
    send_a_third(stage)
    [worker] = stage.site.workers
    assert len(worker.program.members()) > 1
    worker.kill_alone()
    wait_until(lambda: not worker.program.members(), "what it had started has ended", seconds=ENDS_SECONDS)
    stage.site.start_worker()
    found = stage.finish()
    found.require()
    assert not found.flagged


def test_a_worker_that_ends_commits_its_outcomes_when_the_database_comes_back(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(workers=0, DELIVERY_LEASE_SECONDS="20")
    with TcpProxy(stage.database.port) as link:
        stage.site.start_worker(**stage.by_way_of(DATABASE_URL=link))
        send_a_third(stage)
        link.turn(Mode.REFUSE)
        stage.rest(seconds=1)
        coming_back = threading.Timer(5, link.turn, [Mode.FORWARD])
        coming_back.start()
        took = end(stage)
        coming_back.join()
        found = stage.finish()
        found.require()
        assert not found.flagged
    assert took <= ENDS_SECONDS
