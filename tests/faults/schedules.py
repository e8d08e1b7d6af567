"""Random schedules of faults (F40): a seed chooses what happens to an issue of many readers, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.stage import Stage, chance_of
from tests.services.accounting import Account
from tests.services.processes import wait_until

READERS = 2_000
# A lease outlives every restart of a server, and a frozen worker outlives its lease.
LEASE_SECONDS = 20
FROZEN_SECONDS = 24.0
UNANSWERED = 3


@dataclass(frozen=True)
class Act:
    """Something that happens once so many mails are out."""

    name: str
    after: int
    do: Callable[[Stage], None]


def _acts(chance: random.Random) -> dict[str, Callable[[Stage], None]]:
    worker = chance.randrange(2)
    seconds = chance.uniform(0.2, 2)
    return {
        "kill_worker": lambda stage: stage.kill_worker(worker),
        "kill_worker_again": lambda stage: stage.kill_worker(1 - worker),
        "freeze_worker": lambda stage: stage.freeze_worker(worker, seconds=FROZEN_SECONDS),
        "terminate_worker": lambda stage: stage.terminate_worker(worker),
        "wipe_broker": lambda stage: stage.wipe_broker(),
        "stop_broker": lambda stage: stage.stop_broker(seconds=seconds),
        "freeze_broker": lambda stage: stage.freeze_broker(seconds=seconds),
        "purge_broker": lambda stage: stage.purge_broker(),
        "restart_database": lambda stage: stage.restart_database(),
        "kill_database": lambda stage: stage.kill_database(),
        "end_sessions": lambda stage: stage.end_sessions(times=10),
        "exhaust_connections": lambda stage: stage.exhaust_connections(),
        "publish_garbage": lambda stage: stage.publish_garbage(),
        "double_doorbells": lambda stage: stage.double_doorbells(),
        "restart_relay": lambda stage: stage.restart_relay(seconds=seconds),
        "pause_and_resume": lambda stage: stage.pause_and_resume(seconds=seconds),
    }


def schedule(seed: int) -> list[Act]:
    """Return four to seven acts in the order in which they happen."""
    chance = chance_of(seed)
    acts = _acts(chance)
    names = chance.sample(sorted(acts), chance.randint(4, 7))
    moments = sorted(chance.randrange(READERS * 9 // 10) for _ in names)
    return [Act(name, after, acts[name]) for name, after in zip(names, moments, strict=True)]


def play(stage: Stage, seed: int) -> Account:
    """Send an issue under a schedule, do what an operator would, and return the account."""
    acts = schedule(seed)
    print([(act.name, act.after) for act in acts])  # noqa: T201
    unlucky = {f"reader-{number}@example.org" for number in chance_of(seed).sample(range(1, READERS), UNANSWERED)}
    stage.lose_replies(unlucky)
    # Counted below by what the relay did: after its restart it leaves the same readers unanswered again.
    stage.bound -= len(unlucky)
    stage.send()
    for act in acts:
        wait_until(lambda act=act: stage.sink.count() >= act.after or stopped(stage), act.name, seconds=400, pause=0.1)  # type: ignore[misc]
        go_on(stage)
        act.do(stage)
    wait_until(lambda: is_sent(stage), "the issue is sent", seconds=600, pause=0.2)
    return stage.finish()


def stopped(stage: Stage) -> bool:
    """Tell whether the issue waits for its operator."""
    return bool(stage.site.ask("GET", f"/issues/{stage.issue_id}/progress")["state"] == "paused")


def go_on(stage: Stage) -> None:
    """Resume an issue that paused because too many mails in a row were not answered."""
    if stopped(stage):
        stage.site.call("POST", f"/issues/{stage.issue_id}/resume")


def is_sent(stage: Stage) -> bool:
    """Tell whether the issue has ended, resuming it and sending held mails again as an operator may."""
    go_on(stage)
    progress = stage.site.ask("GET", f"/issues/{stage.issue_id}/progress")
    if progress["state"] == "sent" and progress["held"]:
        stage.bound += int(progress["held"])
        stage.site.ask("POST", f"/issues/{stage.issue_id}/held/resend", headers={"Idempotency-Key": str(stage.bound)})
        return False
    return bool(progress["state"] == "sent")


def bound(stage: Stage) -> int:
    """Return how many copies the schedule may have caused in all."""
    return stage.bound + sum(not mail.replied for mail in stage.sink.mails())
