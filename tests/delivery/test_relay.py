"""What one process makes of its relay's faults."""

from __future__ import annotations

import asyncio

import pytest

from newsletters.delivery import relay as relay_module
from newsletters.delivery.relay import RelayPool
from newsletters.delivery.replies import Outcome, Phase, classify, cut, read_reply
from newsletters.delivery.smtp import Connection, RelayFaultError

DOWN = cut(Phase.CONNECT, "cannot_connect")
REFUSED = classify(Phase.CONNECT, read_reply(554, b"5.7.1 blocked"))


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(relay_module, "time", made)
    return made


async def no_connection() -> Connection:
    raise RelayFaultError(DOWN)


@pytest.mark.parametrize(("outcome", "longest"), [(DOWN, 60.0), (REFUSED, 5.0)])
def test_the_rest_doubles_up_to_its_limit(watch: Watch, outcome: Outcome, longest: float) -> None:
    pool, rests = RelayPool(no_connection), []
    for _ in range(9):
        pool.fail(outcome)
        rests.append(pool.resting)
        watch.now += pool.resting
    assert rests[:3] == [1.0, 2.0, 4.0]
    assert rests[-1] == longest


def test_a_fault_that_all_lanes_meet_at_once_counts_once(watch: Watch) -> None:
    pool = RelayPool(no_connection)
    pool.proven = True

    async def all_lanes() -> None:
        await asyncio.gather(*(pool.acquire() for _ in range(32)), return_exceptions=True)

    asyncio.run(all_lanes())
    assert pool.resting == 1.0
    assert not pool.proven


def test_a_mail_that_goes_through_ends_the_back_off(watch: Watch) -> None:
    pool = RelayPool(no_connection)
    for _ in range(4):
        pool.fail(DOWN)
        watch.now += pool.resting
    pool.succeed()
    pool.fail(DOWN)
    assert (pool.resting, pool.proven) == (1.0, False)
