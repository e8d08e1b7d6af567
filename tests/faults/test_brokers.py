"""F03-F07, F14, F35: a broker that is wiped, emptied, dead, frozen, or full of garbage. None may double a mail."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.faults import messages
from tests.faults.stage import Stage
from tests.services.processes import wait_until

READERS = 500
# Whether it takes less than 30 s is measured by `make recovery`, with the machine to itself.
RESUMES_SECONDS = 120


@pytest.mark.parametrize("moment", [0, READERS // 3])
def test_f03_f04_a_wiped_broker_loses_and_doubles_nobody(make_stage: Callable[..., Stage], moment: int) -> None:
    stage = make_stage(readers=READERS)
    stage.send_slowly()
    stage.wait_for_mails(moment)
    stage.wipe_broker()
    back, before = time.monotonic(), stage.sink.count()
    if before < READERS:
        wait_until(lambda: stage.sink.count() > before, "mails leave again", seconds=RESUMES_SECONDS)
    print(f"resumed after {time.monotonic() - back:.1f} s")  # noqa: T201
    stage.finish().require()


def test_f05_deleted_queues_of_a_live_broker_lose_nobody(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    stage.send_slowly()
    for turn in range(3):
        stage.wait_for_mails((turn + 1) * READERS // 5)
        stage.purge_broker()
    stage.finish().require()


@pytest.mark.parametrize("fate", ["dead", "frozen"])
def test_f06_f07_a_dead_or_frozen_broker_is_not_felt_by_the_api(make_stage: Callable[..., Stage], fate: str) -> None:
    stage = make_stage(readers=READERS)
    if fate == "dead":
        stage.broker.kill()
    else:
        stage.broker.running.send_group(signal.SIGSTOP)
    answers = [stage.site.send_issue(stage.issue_id).status]
    for step in ("pause", "resume", "pause", "resume"):
        stage.rest(seconds=1)
        answers.append(stage.site.call("POST", f"/issues/{stage.issue_id}/{step}").status)
    mails = stage.sink.count()
    if fate == "dead":
        stage.broker.start()
    else:
        stage.broker.running.send_group(signal.SIGCONT)
    # No worker could be told of the issue before.
    assert mails == 0
    assert answers == [202, 200, 200, 200, 200]
    stage.finish().require()


def test_f14_f35_garbage_and_doubled_doorbells_change_nothing(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    wait_until(
        lambda: stage.site.fetch(f"{stage.site.address}/readyz").json["broker"]["state"] == "ok", "ok", seconds=180
    )
    stage.send_slowly()
    stage.publish_garbage()
    stage.double_doorbells()
    stage.finish().require()
    wait_until(lambda: messages.waiting(stage.broker) == 0, "all of it was taken", seconds=180, pause=0.2)
    assert [worker.restarts for worker in stage.site.workers] == [0, 0]
    assert all(worker.program.is_running for worker in stage.site.workers)
