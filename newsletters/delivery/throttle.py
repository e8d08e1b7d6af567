"""The throttle: makes the lanes of one process wait for their sender's permits."""

from __future__ import annotations

import asyncio
import collections
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from newsletters.delivery.rates import Permits

log = structlog.get_logger(__name__)

# A block is about what this process uses in this time, and at most what the sender may send in it.
BLOCK_SECONDS = 0.1
# A limit that was changed is seen after at most this time.
REFRESH_SECONDS = 1.0
# "No limit" is believed for this long when nobody could ask again.
STALE_SECONDS = 2 * REFRESH_SECONDS
# Permits that nobody used for so long are lost, so that no burst builds up.
MAX_AGE_SECONDS = 1.0
OVER_SECONDS = 0.1
RETRY_SECONDS = 0.5


@dataclass(slots=True)
class _Block:
    """Permits in hand: the next may begin at `at` (the loop's time), the others every `interval` seconds."""

    at: float
    interval: float
    left: int


@dataclass(slots=True)
class _Place:
    """A lane's place in the line."""

    over: Callable[[], bool]
    answer: asyncio.Future[bool]


class Throttle:
    """One for each sender in a process, on one event loop; `reserve` fetches a block of at most so many permits.

    Without a limit a permit is given without waiting, and the limit is read again once a second in the background.
    """

    def __init__(self, reserve: Callable[[int], Awaitable[Permits]]) -> None:
        self._reserve = reserve
        self._stock: collections.deque[_Block] = collections.deque()
        self._line: collections.deque[_Place] = collections.deque()
        self._unlimited = False
        self._most = 1.0
        self._want = 1
        self._read_at = self._asked_at = -math.inf
        self._ask_at = self._look_at = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def unlimited(self) -> bool:
        """Whether, as far as is known, no lane has to wait."""
        return self._unlimited

    async def permit(self, over: Callable[[], bool]) -> bool:
        """Wait until one mail may begin; False as soon as `over` says so.

        Lanes are served in the order in which they came. When the permits cannot be fetched, all lanes that
        wait for them get the error raised, a DatabaseError as a rule.
        """
        if over():
            return False
        now = asyncio.get_running_loop().time()
        if self._believes_unlimited(now):
            if now >= self._ask_at:
                self._ask(now)
            return True
        if not self._line and self._take(now):
            self._ask_ahead(now)
            return True
        place = _Place(over, asyncio.get_running_loop().create_future())
        self._line.append(place)
        if len(self._line) == 1:
            self._serve()
        try:
            return await place.answer
        except asyncio.CancelledError:
            if place.answer.done() and not place.answer.cancelled() and place.answer.result():
                self.give_back()
            raise

    def give_back(self) -> None:
        """Return a permit for a mail that did not begin; the next lane gets it."""
        if not self._unlimited:
            self._stock.appendleft(_Block(asyncio.get_running_loop().time(), 1.0, 1))
            if self._line:
                self._serve()

    def _believes_unlimited(self, now: float) -> bool:
        return self._unlimited and now - self._read_at < STALE_SECONDS

    def _serve(self) -> None:
        """Give the lanes in line what is due, and come back when there may be more."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if now >= self._look_at:
            self._send_away()
            self._look_at = now + OVER_SECONDS
        while self._line:
            place = self._line[0]
            if place.answer.done() or place.over():
                _answer(self._line.popleft(), False)
            elif self._believes_unlimited(now) or self._take(now):
                _answer(self._line.popleft(), True)
            else:
                break
        self._ask_ahead(now)
        if self._line:
            # While a block is on its way, its arrival is what calls next.
            asks_at = math.inf if self._fetching else self._ask_at
            due_at = self._stock[0].at if self._stock else asks_at
            self._timer = loop.call_at(min(due_at, self._look_at), self._serve)

    def _send_away(self) -> None:
        """Let go all lanes that need no permit any more, wherever they stand in line."""
        staying = collections.deque[_Place]()
        for place in self._line:
            if place.answer.done() or place.over():
                _answer(place, False)
            else:
                staying.append(place)
        self._line = staying

    def _take(self, now: float) -> bool:
        """Take one permit whose time has come, dropping those that are too old."""
        oldest = now - MAX_AGE_SECONDS
        while self._stock:
            block = self._stock[0]
            if block.at < oldest:
                lost = min(block.left, math.ceil((oldest - block.at) / block.interval))
                block.left -= lost
                block.at += lost * block.interval
            if block.left and block.at > now:
                return False
            if block.left:
                block.left -= 1
                block.at += block.interval
                return True
            self._stock.popleft()
        return False

    def _ask_ahead(self, now: float) -> None:
        """Have the next block on its way before this one is used up; single permits only when a lane waits."""
        left = sum(block.left for block in self._stock)
        if left <= self._want // 2 and (self._line or self._want > 1) and now >= self._ask_at:
            self._ask(now)

    def _ask(self, now: float) -> None:
        if self._fetching is not None:
            return
        since = now - self._asked_at
        # Lanes in line would use more. By time alone, a process that got little would ask for ever less.
        if self._line or since < BLOCK_SECONDS / 2:
            self._want *= 2
        elif since > BLOCK_SECONDS * 2:
            self._want = max(self._want // 2, 1)
        self._want = min(self._want, math.ceil(self._most))
        self._asked_at = now
        self._fetching = asyncio.ensure_future(self._fetch())

    async def _fetch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            permits = await self._reserve(self._want)
        except Exception as error:  # noqa: BLE001  # the lanes in line wait for this: they must hear of any mistake
            log.warning("permits_not_fetched", error=type(error).__name__)
            self._ask_at = loop.time() + RETRY_SECONDS
            while self._line:
                _fail(self._line.popleft(), error)
        else:
            self._receive(permits, loop.time())
        finally:
            self._fetching = None
        self._serve()

    def _receive(self, permits: Permits, now: float) -> None:
        self._read_at = now
        self._unlimited = permits.rate is None
        if permits.rate is None:
            self._stock.clear()
            self._ask_at = now + REFRESH_SECONDS
            return
        if permits.count:
            self._stock.append(_Block(now + permits.first_in, permits.interval, permits.count))
        self._most = max(1.0, permits.rate * BLOCK_SECONDS)
        self._ask_at = now + min(permits.retry_in, REFRESH_SECONDS)


def _answer(place: _Place, permitted: bool) -> None:
    if not place.answer.done():
        place.answer.set_result(permitted)


def _fail(place: _Place, error: Exception) -> None:
    if not place.answer.done():
        place.answer.set_exception(error)
