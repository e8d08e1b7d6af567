"""A worker that is told to end while its servers are away: it ends before a platform kills it, and nobody is lost."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

from tests.faults.stage import LANES, SHORT_LEASE, Stage
from tests.services.processes import wait_until
from tests.services.tcp_proxy import Mode, TcpProxy

READERS = 200
# docs/deploy.md says 25, which `make recovery` measures; a busy machine stretches them. Without limits of its own, a
# worker would wait a minute or for ever.
ENDS_SECONDS = 55


def send_a_third(stage: Stage) -> None:
    stage.prepare(READERS)
    stage.send_slowly()
    stage.wait_for_mails(READERS // 3)


def end(stage: Stage) -> float:
    """SIGTERM the worker's whole group; return after how many seconds it was gone."""
    [worker] = stage.site.workers
    program, began = worker.program, time.monotonic()
    program.send_group(signal.SIGTERM)
    program.wait(300)
    took = time.monotonic() - began
    print(f"ended after {took:.1f} s")  # noqa: T201
    return took


@contextlib.contextmanager
def silenced_worker(stage: Stage) -> Iterator[None]:
    """Have one worker in the middle of an issue while its database and its broker say nothing more."""
    with TcpProxy(stage.database.port) as database, TcpProxy(stage.broker.port) as broker:
        stage.site.start_worker(**stage.by_way_of(DATABASE_URL=database, BROKER_URL=broker))
        send_a_third(stage)
        database.turn(Mode.SILENT)
        broker.turn(Mode.SILENT)
        # Every lane has a mail past the dot, or waits for permission for the next.
        stage.rest(seconds=1)
        stage.bound += LANES
        yield
        # Who comes after it has these servers again.
        stage.site.workers.pop().end()
    stage.site.start_worker()


def test_a_worker_ends_in_time_when_its_servers_have_stopped_answering(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(workers=0, **SHORT_LEASE)
    with silenced_worker(stage):
        took = end(stage)
    stage.finish().require(dups=stage.bound)
    assert took <= ENDS_SECONDS


def test_a_worker_whose_master_was_killed_hands_back_what_it_has_and_ends(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(workers=1, DELIVERY_LEASE_SECONDS="300")
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
    stage = make_stage(workers=0)
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
