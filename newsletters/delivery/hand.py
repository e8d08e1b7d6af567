"""The hand: rows of one issue that this process has claimed and its lanes have not yet taken.

It claims ahead, so that no lane waits for the database, and keeps the rows of a busy destination apart,
so that they hold up nobody else: a few wait here for the next slot, the others go back to the queue
until their turn may have come.
"""

from __future__ import annotations

import asyncio
import collections
import sys
import time
from collections.abc import Awaitable, Callable, Iterable

from django.conf import settings

from core.allow_list import is_allowed
from newsletters.delivery.dialects import Claimed, Settlement
from newsletters.delivery.ledger import GateAnswer
from newsletters.delivery.outcomes import close, park, release
from newsletters.delivery.pacing import Key
from newsletters.delivery.replies import SCHEDULE_SECONDS
from newsletters.delivery.run import Run
from newsletters.models import DeliveryState

# A small issue spreads over all processes; a large one soon claims in full batches.
FIRST_BATCH, FULL_BATCH = 16, 256
# Rows that no lane has taken for so long, because every mail under way is slow, are for other processes.
PATIENCE_SECONDS = 5.0
PARKED_AT_ONCE = 64

Taken = tuple[Claimed, Key]


class Hand:
    """The rows in hand; `claim` brings at most so many, at most `most` at a time."""

    def __init__(self, run: Run, claim: Callable[[int], Awaitable[list[Claimed]]], *, most: int = FULL_BATCH) -> None:
        self._run = run
        self._claim = claim
        self._most = most
        self._batch = min(FIRST_BATCH, most)
        self._ready: collections.deque[Taken] = collections.deque()
        self._waiting: dict[Key, collections.deque[Claimed]] = {}
        self._freed: dict[Key, None] = {}
        self._parked: list[Settlement] = []
        self._lanes: collections.deque[asyncio.Future[None]] = collections.deque()
        self._claiming: asyncio.Task[None] | None = None
        self._giving_back: set[asyncio.Task[GateAnswer]] = set()
        self._error: Exception | None = None
        # When a lane last took a row, or rows came that none could have taken sooner.
        self._taken_at = time.monotonic()
        # When it was last not known that nothing is due, and when that was last asked.
        self.full_at = self.asked_at = time.monotonic()
        self.claimed = 0
        self.exhausted = False
        run.on_stop.append(self.wake)

    @property
    def rows_for_lanes(self) -> int:
        """How many lanes more could find a row: sys.maxsize while more may be due than is in hand."""
        return len(self._ready) if self.exhausted else sys.maxsize

    def take(self) -> Taken | None:
        """Return a row whose destination has room, and the slot taken for it; None when there is none now."""
        taken = self._take()
        if taken is not None:
            self._taken_at = time.monotonic()
            if len(self._ready) * 2 < self._batch:
                self._claim_ahead()
        return taken

    async def wait(self, over: Callable[[], bool]) -> Taken | None:
        """Return the next row as `take` does, waiting for it; None when there is none left or `over` says so.

        Raises DatabaseError when the rows could not be claimed.
        """
        while not over():
            if (taken := self.take()) is not None:
                return taken
            if self._error is not None:
                raise self._error
            self._claim_ahead()
            if self._claiming is None and not self._waiting:
                return None
            lane = asyncio.get_running_loop().create_future()
            self._lanes.append(lane)
            await lane
        return None

    def note_room(self, key: Key) -> None:
        """Take to hand that a destination has room for one more."""
        if key in self._waiting:
            self._freed[key] = None
            self._wake(1)

    def wake(self) -> None:
        """Make every waiting lane look again."""
        self._wake(len(self._lanes))

    def look_after(self) -> None:
        """Notice what no lane tells: destinations that closed or got room elsewhere, and rows nobody takes."""
        pacing = self._run.pacing
        for key in list(self._waiting):
            if pacing.closed_seconds(key):
                self._parked += [self._park(row, key) for row in self._clear_room(key)]
            elif pacing.has_room(key):
                self.note_room(key)
        self._put_parked_back()
        if self._ready and time.monotonic() - self._taken_at > PATIENCE_SECONDS:
            self._give_back([release(row) for row, _ in self._ready])
            self._ready.clear()

    async def draw(self) -> bool:
        """Claim rows now, whatever was due before; True when there were some. Raises DatabaseError."""
        self.exhausted = False
        self._claim_ahead()
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        if self._error is not None:
            raise self._error
        return not self.exhausted

    async def put_down(self) -> None:
        """Give everything back that no lane has taken; returns when that is committed."""
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        rows = [row for row, _ in self._ready] + [row for rows in self._waiting.values() for row in rows]
        self._ready.clear()
        self._waiting.clear()
        self._put_parked_back()
        self._give_back([release(row) for row in rows])
        if self._giving_back:
            await asyncio.gather(*self._giving_back)

    def _take(self) -> Taken | None:
        pacing = self._run.pacing
        while self._freed:
            key = next(iter(self._freed))
            rows = self._waiting.get(key)
            if rows and pacing.admit(key):
                row = rows.popleft()
                if not rows:
                    self._clear_room(key)
                return row, key
            del self._freed[key]
        taken = None
        while self._ready:
            taken = self._ready.popleft()
            row, key = taken
            if pacing.admit(key):
                break
            taken = None
            room = self._waiting.setdefault(key, collections.deque())
            if len(room) < pacing.waiting_room(key):
                room.append(row)
                continue
            if not room:
                del self._waiting[key]
            self._parked.append(self._park(row, key))
        if len(self._parked) >= PARKED_AT_ONCE:
            self._put_parked_back()
        return taken

    def _clear_room(self, key: Key) -> collections.deque[Claimed]:
        rows = self._waiting.pop(key)
        if not self._waiting:
            # Lanes that wait because rows did may be waiting for nothing now.
            self.wake()
        return rows

    def _park(self, row: Claimed, key: Key) -> Settlement:
        pacing = self._run.pacing
        if not pacing.closed_seconds(key):
            return park(row, seconds=pacing.park_seconds(key), reason="destination_busy")
        if self._run.seconds_sending > SCHEDULE_SECONDS * settings.RETRY_SCALE_PERCENT / 100:
            # A destination that is closed again and again would otherwise keep the issue from ever ending.
            return close(row, DeliveryState.EXPIRED, "destination_closed")
        return park(row, seconds=pacing.park_seconds(key), reason="destination_closed")

    def _put_parked_back(self) -> None:
        """Tell the ledger of parked rows, many at once: one by one they cost a transaction each."""
        parked, self._parked = self._parked, []
        self._give_back(parked)

    def _give_back(self, settlements: Iterable[Settlement]) -> None:
        given = list(settlements)
        if given:
            task = asyncio.ensure_future(self._run.ledger.turn(given))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    def _claim_ahead(self) -> None:
        if self._claiming is None and not (self.exhausted or self._run.stopped or self._error):
            self._claiming = asyncio.ensure_future(self._claim_more())

    async def _claim_more(self) -> None:
        try:
            rows = await self._claim(self._batch)
            self._batch = min(self._batch * 2, self._most)
            self._receive(rows)
        except Exception as error:  # noqa: BLE001  # the lanes that wait for rows must hear of any mistake
            self._error = error
        finally:
            self._claiming = None
            self.wake()

    def _receive(self, rows: list[Claimed]) -> None:
        self.exhausted = not rows
        self.asked_at = time.monotonic()
        if rows:
            self.full_at = self.asked_at
        if not self._ready:
            self._taken_at = self.asked_at
        self.claimed += len(rows)
        self._run.ledger.hold({row.delivery_id: row.lease_token for row in rows})
        publisher_id = self._run.facts.publisher_id
        unwanted = []
        for row in rows:
            why = _unwanted(row)
            if why is None:
                assert row.address is not None
                self._ready.append((row, (publisher_id, row.address.rpartition("@")[2])))
            else:
                unwanted.append(close(row, DeliveryState.SUPPRESSED, why))
        self._give_back(unwanted)

    def _wake(self, count: int) -> None:
        while count and self._lanes:
            lane = self._lanes.popleft()
            if not lane.done():
                lane.set_result(None)
                count -= 1


def _unwanted(row: Claimed) -> str | None:
    """Return why nobody needs to ask the gate for this row; None when it is to be attempted."""
    if row.address is None or row.subscription_id is None:
        return "erased"
    return None if is_allowed(row.address) else "not_on_allow_list"
