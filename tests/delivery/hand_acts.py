"""A hand with a queue to claim from and a ledger that commits at once."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from newsletters.delivery.dialects import Claimed, Settlement
from newsletters.delivery.editions import Facts
from newsletters.delivery.hand import Hand, Taken
from newsletters.delivery.ledger import GateAnswer
from newsletters.delivery.pacing import Key, Pacing
from newsletters.delivery.run import Run
from newsletters.delivery.window import START, Queue
from tests.delivery.pacing_acts import SLOW, Clock

BUSY: Key = (1, "busy.example")
FREE: Key = (1, "free.example")
# More rows of one destination than may wait at hand.
MANY = START + Queue.MOST_ROOM + 40


@dataclasses.dataclass
class Books:
    """A ledger that commits at once; `leased` are the rows that it would renew."""

    leased: dict[int, uuid.UUID] = dataclasses.field(default_factory=dict)
    settled: list[Settlement] = dataclasses.field(default_factory=list)

    def hold(self, rows: dict[int, uuid.UUID]) -> None:
        self.leased |= rows

    async def turn(self, settlements: Sequence[Settlement]) -> GateAnswer:
        await asyncio.sleep(0)
        for settled in settlements:
            assert self.leased.pop(settled.delivery_id) == settled.lease_token
            self.settled.append(settled)
        return GateAnswer.PERMITTED


class Table:
    """A hand, and the queue of rows from which it claims: one for each domain named."""

    def __init__(self, *domains: str, most: int = 256) -> None:
        self.due = [
            Claimed(number, uuid.uuid4(), number, f"reader-{number}@{domain}", 0, 0, {})
            for number, domain in enumerate(domains, 1)
        ]
        self.clock = Clock()
        self.books = Books()
        self.claims: list[int] = []
        self.before_claim: Callable[[], Awaitable[None]] | None = None
        self.pacing = Pacing(lambda limit: limit, clock=self.clock)
        facts = Facts(cast("Any", None), "resend", 1, 1)
        nothing = cast("Any", None)
        self.run = Run(1, facts, cast("Any", self.books), nothing, nothing, self.pacing, nothing, nothing)
        self.hand = Hand(self.run, self.claim, most=most)

    async def claim(self, limit: int) -> list[Claimed]:
        self.claims.append(limit)
        await asyncio.sleep(0)
        if self.before_claim is not None:
            await self.before_claim()
        rows, self.due = self.due[:limit], self.due[limit:]
        return rows

    async def next(self) -> Taken | None:
        return await asyncio.wait_for(self.hand.wait(lambda: self.run.stopped), timeout=120)

    async def take_all(self, *, tick: bool = True) -> list[Taken]:
        """Take what can be had without anybody giving a slot back, and look after the hand as the courier does."""
        taken: list[Taken] = []
        while True:
            waiting = asyncio.ensure_future(self.next())
            await settle_down()
            if not waiting.done():
                self.run.stop()
                assert await waiting is None
                self.run.stopped = False
                break
            found = waiting.result()
            if found is None:
                break
            taken.append(found)
        if tick:
            self.hand.look_after()
            await settle_down()
        return taken

    async def put_down(self) -> None:
        self.run.stop()
        await self.hand.put_down()

    def waiting(self) -> int:
        return sum(map(len, self.hand._waiting.values()))

    def reasons(self) -> list[str | None]:
        return [settled.reason for settled in self.books.settled]

    def busy(self) -> int:
        return sum(window.busy for window in self.pacing._windows.values())


async def settle_down() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def close(pacing: Pacing, key: Key) -> None:
    while not pacing.closed_seconds(key):
        assert pacing.admit(key)
        pacing.settle(key, SLOW, attempts=1)
