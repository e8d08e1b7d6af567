"""What bounds the lanes of one process beyond their number: senders' limits and destinations' windows.

The limits themselves are rows that hold for all processes. About once a second this process tells the
database what it has learned and hears what the others have, and what a person has changed.
"""

from __future__ import annotations

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


class Bounds:
    """The limits as this process knows them. `in_database` runs a function in the thread with the connection."""

    def __init__(self, in_database: Callable[[Callable[[], Any]], Awaitable[Any]], *, pacing: bool) -> None:
        self._in_database = in_database
        self._paced = pacing
        self.roster = Roster()
        self.pacing = Pacing(self.roster.share, scale=settings.RETRY_SCALE_PERCENT / 100, enabled=pacing)
        self._throttles: dict[int, Throttle] = {}
        self._limits: dict[int, SenderLimits] = {}

    def throttle(self, sender_id: int) -> Throttle:
        """Return what the lanes of all issues of one sender wait at."""
        if sender_id not in self._throttles:

            async def fetch(want: int) -> Any:
                return await self._in_database(functools.partial(reserve, sender_id, want=want))

            self._throttles[sender_id] = Throttle(fetch)
        return self._throttles[sender_id]

    def connections(self, sender_id: int) -> int:
        """Return how many lanes of this process may work for a sender now."""
        found = self._limits.get(sender_id)
        if found is None or found.max_connections is None:
            return sys.maxsize
        return self.roster.share(found.max_connections)

    async def know(self, run: Run) -> None:
        """Make sure that the limits of a run's sender are known before its first mail. Raises DatabaseError."""
        if self.roster.beat_at <= time.monotonic():
            await self._in_database(self.roster.beat)
            await self._exchange({run.facts.publisher_id})
        await self._look(run.facts.sender_id)

    async def tend(self, runs: Collection[Run]) -> None:
        """Tell and hear what has changed; when the database is away, what is known stays true for a while."""
        try:
            if self.roster.beat_at <= time.monotonic():
                await self._in_database(self.roster.beat)
            await self._exchange({run.facts.publisher_id for run in runs})
            senders = {run.facts.sender_id for run in runs}
            for sender_id in senders:
                await self._look(sender_id)
        except (DatabaseError, InterfaceError) as error:
            log.warning("limits_not_read", error=type(error).__name__)
            return
        for sender_id in self._limits.keys() - senders:
            del self._limits[sender_id]
            # One with permits in stock keeps them for the next slice.
            if self._throttles[sender_id].unlimited:
                del self._throttles[sender_id]

    async def leave(self) -> None:
        """Let the other processes have this one's part."""
        try:
            await self._in_database(self.roster.leave)
        except (DatabaseError, InterfaceError) as error:
            log.warning("roster_not_left", error=type(error).__name__)

    async def _exchange(self, publishers: set[int]) -> None:
        if not self._paced:
            return
        reports = self.pacing.reports()
        if publishers or reports.closures or reports.recoveries:
            self.pacing.learn(await self._in_database(functools.partial(exchange, publishers, reports)))

    async def _look(self, sender_id: int) -> None:
        self._limits[sender_id] = await self._in_database(functools.partial(limits, sender_id))
