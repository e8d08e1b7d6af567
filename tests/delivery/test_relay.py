"""What one process makes of its relay's faults, and of its limit of connections."""

from __future__ import annotations

import asyncio
import sys

import pytest

from newsletters.delivery import relay as relay_module
from newsletters.delivery.compose import Mail
from newsletters.delivery.relay import RelayFullError, RelayPool
from newsletters.delivery.replies import Outcome, Phase, Verdict, classify, cut, read_reply
from newsletters.delivery.smtp import Connection, Relay, RelayFaultError, connect
from tests.delivery.links import MAIL, until
from tests.delivery.scripted_relay import ScriptedRelay

DOWN = cut(Phase.CONNECT, "cannot_connect")
REFUSED = classify(Phase.CONNECT, read_reply(554, b"5.7.1 blocked"))
FULL = classify(Phase.CONNECT, read_reply(421, b"4.7.0 too many connections"))
ENDED = Outcome(Verdict.RELAY_FAULT, Phase.MAIL, None, "connection_ended")


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Line:
    """A connection that does nothing; `usable` until a test says otherwise."""

    def __init__(self) -> None:
        self.usable = True
        self.closed = False

    async def send(self, mail: Mail) -> Outcome:
        raise AssertionError("The pool opens, lends and closes; only lanes send.")

    def close(self) -> None:
        self.usable, self.closed = False, True


class Exchange:
    """Opens lines, at most so many; `trouble` is what one more meets."""

    def __init__(self, most: int, trouble: Outcome = FULL) -> None:
        self.most = most
        self.trouble = trouble
        self.lines: list[Line] = []
        self.asked = 0

    async def open(self) -> Connection:
        self.asked += 1
        if sum(line.usable for line in self.lines) >= self.most:
            raise RelayFaultError(self.trouble)
        self.lines.append(Line())
        return self.lines[-1]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(relay_module, "time", made)
    return made


async def no_connection() -> Connection:
    raise RelayFaultError(DOWN)


async def take(pool: RelayPool, count: int) -> list[Connection | BaseException]:
    return await asyncio.gather(*(pool.acquire() for _ in range(count)), return_exceptions=True)


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
    asyncio.run(take(pool, 32))
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


def test_the_end_of_a_used_connection_is_no_reason_to_rest(watch: Watch) -> None:
    pool = RelayPool(no_connection)
    pool.succeed()
    pool.fail(ENDED)
    assert (pool.resting, pool.proven) == (0.0, True)


# --- a relay that takes only so many connections ---------------------------------------------------------


@pytest.mark.parametrize("trouble", [FULL, DOWN], ids=["421", "refused link"])
def test_one_connection_too_many_leaves_those_at_work_alone(watch: Watch, trouble: Outcome) -> None:
    async def act() -> None:
        exchange = Exchange(most=3, trouble=trouble)
        pool = RelayPool(exchange.open)
        first = await pool.acquire()
        assert pool.room == sys.maxsize
        pool.succeed()
        rest = await take(pool, 9)
        assert sum(isinstance(one, Line) for one in rest) == 2
        assert sum(isinstance(one, RelayFullError) for one in rest) == 7
        assert (pool.resting, pool.proven, pool.room) == (0.0, True, 0)
        # Nobody asks the relay again, and what comes back is used again.
        asked = exchange.asked
        assert isinstance((await take(pool, 1))[0], RelayFullError)
        pool.release(first)
        assert pool.room == 1
        assert await pool.acquire() is first
        assert exchange.asked == asked
        pool.close()

    asyncio.run(act())


def test_the_limit_is_tried_again_one_connection_at_a_time(watch: Watch) -> None:
    async def act() -> None:
        exchange = Exchange(most=2)
        pool = RelayPool(exchange.open)
        kept = [await pool.acquire()]
        pool.succeed()
        kept += await take(pool, 4)  # type: ignore[arg-type]
        rooms = []
        for seconds in (0.5, 14.0, 1.0, 15.0, 15.0):
            watch.now += seconds
            rooms.append(pool.room)
        assert rooms == [0, 0, 1, 2, 3]
        pool.succeed()
        exchange.most = 3
        assert sum(isinstance(one, Line) for one in await take(pool, 3)) == 1
        assert len(kept) == 5

    asyncio.run(act())


def test_a_worn_out_connection_makes_room_for_its_successor(watch: Watch) -> None:
    async def act() -> None:
        exchange = Exchange(most=2)
        pool = RelayPool(exchange.open)
        worn = await pool.acquire()
        pool.succeed()
        others = await take(pool, 3)
        watch.now += 2
        worn.close()
        pool.release(worn)
        assert pool.room == 1
        assert isinstance(await pool.acquire(), Line)
        assert len(others) == 3

    asyncio.run(act())


@pytest.mark.parametrize("quiet", [False, True])
def test_with_nobody_at_work_the_same_refusal_is_a_fault_of_the_relay(watch: Watch, quiet: bool) -> None:
    async def act() -> None:
        exchange = Exchange(most=1)
        pool = RelayPool(exchange.open)
        kept = await pool.acquire()
        if quiet:
            pool.succeed()
            watch.now += 40
        assert kept.usable
        error = (await take(pool, 1))[0]
        assert isinstance(error, RelayFaultError)
        assert not isinstance(error, RelayFullError)
        assert pool.resting == 1.0

    asyncio.run(act())


def test_a_permanent_refusal_is_a_fault_even_while_others_work(watch: Watch) -> None:
    async def act() -> None:
        pool = RelayPool(Exchange(most=1, trouble=REFUSED).open)
        kept = await pool.acquire()
        pool.succeed()
        await take(pool, 1)
        assert kept.usable
        assert (pool.resting, pool.proven) == (1.0, False)

    asyncio.run(act())


def test_421_at_mail_on_a_fresh_connection_narrows_too(watch: Watch) -> None:
    async def act() -> None:
        pool = RelayPool(Exchange(most=9).open)
        working, fresh = await pool.acquire(), await pool.acquire()
        pool.succeed()
        fresh.close()
        pool.fail(classify(Phase.MAIL, read_reply(421, b"4.7.0 too many connections")))
        assert (pool.resting, pool.room, working.usable) == (0.0, 0, True)

    asyncio.run(act())


def test_a_real_relay_with_a_limit_serves_as_many_as_it_takes() -> None:
    async def act() -> None:
        relay = ScriptedRelay(most_connections=3)
        async with relay.running():
            pool = RelayPool(lambda: connect(Relay("127.0.0.1", relay.port)))
            first = await pool.acquire()
            assert (await first.send(MAIL)).verdict is Verdict.SENT
            pool.succeed()
            answers = await take(pool, 6)
            lines = [first, *(one for one in answers if not isinstance(one, BaseException))]
            assert len(lines) == 3
            assert {(await line.send(MAIL)).verdict for line in lines} == {Verdict.SENT}
            for line in lines:
                pool.release(line)
            pool.close()
            await asyncio.sleep(0.01)

    asyncio.run(act())


# --- idle connections ------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_with_quit_by_the_pool_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "IDLE_SECONDS", 0.05)

    async def act() -> None:
        relay = ScriptedRelay()
        async with relay.running():
            pool = RelayPool(lambda: connect(Relay("127.0.0.1", relay.port)))
            pool.proven = True
            for line in [await pool.acquire(), await pool.acquire()]:
                await line.send(MAIL)
                pool.release(line)
            await until(lambda: (relay.held, pool._idle, pool._sweeper) == (0, [], None))
            assert relay.commands[-2:] == ["QUIT", "QUIT"]

    asyncio.run(act())


@pytest.mark.parametrize("goodbye", [b"421 4.4.2 idle\r\n", b""])
def test_a_connection_that_the_relay_ended_while_idle_is_never_handed_out(goodbye: bytes) -> None:
    async def act() -> None:
        relay = ScriptedRelay()
        async with relay.running():
            pool = RelayPool(lambda: connect(Relay("127.0.0.1", relay.port)))
            line = await pool.acquire()
            await line.send(MAIL)
            pool.release(line)
            relay.writers[0].write(goodbye)
            relay.writers[0].close()
            await until(lambda: not line.usable)
            fresh = await pool.acquire()
            assert fresh is not line
            assert (await fresh.send(MAIL)).verdict is Verdict.SENT
            fresh.close()
            pool.close()
            await asyncio.sleep(0.01)

    asyncio.run(act())
