"""What bounds the lanes of one process beyond their number: senders' limits and destinations' windows.

The limits themselves are rows that hold for all processes. About once a second this process tells the
database what it has learned and hears what the others have, and what a person has changed.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError

from newsletters.delivery.destinations import exchange
from newsletters.delivery.pacing import Pacing
from newsletters.delivery.rates import SenderLimits, limits, reserve
from newsletters.delivery.roster import Roster
from newsletters.delivery.run import Run
from newsletters.delivery.throttle import Throttle

log = structlog.get_logger(__name__)

TEND_SECONDS = 1.0
# A sender nobody has delivered for so long is forgotten.
FORGET_SECONDS = 60.0


class Bounds:
    """The limits as this process knows them. `in_database` runs a function in the thread with the connection."""

    def __init__(self, in_database: Callable[[Callable[[], Any]], Awaitable[Any]], *, pacing: bool) -> None:
        self._in_database = in_database
        self._paced = pacing
        self.roster = Roster()
        self.pacing = Pacing(self.roster.share, scale=settings.RETRY_SCALE_PERCENT / 100, enabled=pacing)
        self._throttles: dict[int, Throttle] = {}
        self._limits: dict[int, SenderLimits] = {}
        self._used_at: dict[int, float] = {}
        self._publishers: frozenset[int] = frozenset()
        # What one exchange reported is not to be taken for what the next one did.
        self._exchanging = asyncio.Lock()

    def throttle(self, sender_id: int) -> Throttle:
        """Return what the lanes of all issues of one sender wait at."""
        self._used_at[sender_id] = time.monotonic()
        if sender_id not in self._throttles:
            self._throttles[sender_id] = Throttle(
                lambda want: self._in_database(functools.partial(reserve, sender_id, want=want))
            )
        return self._throttles[sender_id]

    def connections(self, sender_id: int) -> int:
        """Return how many lanes of this process may work for a sender now."""
        found = self._limits.get(sender_id)
        if found is None or found.max_connections is None:
            return sys.maxsize
        return self.roster.share(found.max_connections)

    async def know(self, run: Run) -> None:
        """Make sure that what bounds a run is known before its first mail. Raises DatabaseError."""
        beats = self.roster.beat_at <= time.monotonic()
        if beats:
            await self._in_database(self.roster.beat)
        await self._look(run.facts.sender_id)
        # Last, so that the next exchange, which forgets what it is not asked for, finds the run.
        if beats or run.facts.publisher_id not in self._publishers:
            await self._exchange(lambda: {run.facts.publisher_id, *self._publishers})

    async def tend(self, runs: Collection[Run]) -> None:
        """Tell and hear what has changed; when the database is away, what is known stays true for a while."""
        try:
            if self.roster.beat_at <= time.monotonic():
                await self._in_database(self.roster.beat)
            await self._exchange(lambda: {run.facts.publisher_id for run in runs})
            senders = {run.facts.sender_id for run in runs}
            for sender_id in senders:
                await self._look(sender_id)
        except (DatabaseError, InterfaceError) as error:
            log.warning("limits_not_read", error=type(error).__name__)
            return
        self._forget(senders)

    async def leave(self) -> None:
        """Let the other processes have this one's part."""
        try:
            await self._in_database(self.roster.leave)
        except (DatabaseError, InterfaceError) as error:
            log.warning("roster_not_left", error=type(error).__name__)

    async def _exchange(self, of_interest: Callable[[], set[int]]) -> None:
        if not self._paced:
            return
        async with self._exchanging:
            publishers, reports = of_interest(), self.pacing.reports()
            self._publishers = frozenset()
            if publishers or reports.closures or reports.recoveries:
                self.pacing.learn(await self._in_database(functools.partial(exchange, publishers, reports)))
                self._publishers = frozenset(publishers)

    async def _look(self, sender_id: int) -> None:
        self._limits[sender_id] = await self._in_database(functools.partial(limits, sender_id))

    def _forget(self, senders: Collection[int]) -> None:
        """Forget who is not among these, but nobody whose run is just about to begin."""
        oldest = time.monotonic() - FORGET_SECONDS
        for sender_id in [one for one, at in self._used_at.items() if at < oldest and one not in senders]:
            del self._used_at[sender_id]
            self._limits.pop(sender_id, None)
            self._throttles.pop(sender_id, None)
