"""The relay as one process sees it: its idle connections, and whether it may be tried now."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from newsletters.delivery.replies import Outcome
from newsletters.delivery.smtp import Connection, RelayFaultError

IDLE_SECONDS = 20.0
FIRST_REST = 1.0
LONGEST_REST = 60.0
LONGEST_REST_PERMANENT = 5.0


class RelayPool:
    """Idle connections, newest first, and the back-off after relay faults.

    Until a mail has gone through (`proven`), one lane at a time may try, so that a wrong password or
    a refused sender costs a handful of attempts and not one for each lane.
    """

    def __init__(self, open_connection: Callable[[], Awaitable[Connection]]) -> None:
        self._open = open_connection
        self._idle: list[tuple[Connection, float]] = []
        self._probe = asyncio.Lock()
        self._rest_until = 0.0
        self._faults = 0
        self.proven = False

    @property
    def resting(self) -> float:
        """Seconds until the relay may be tried again; 0 when it may be tried now."""
        return max(0.0, self._rest_until - time.monotonic())

    async def acquire(self) -> Connection:
        """Return a usable connection. Raises RelayFaultError, whose fault has been counted."""
        while self._idle:
            connection, since = self._idle.pop()
            if connection.usable and time.monotonic() - since < IDLE_SECONDS:
                return connection
            connection.close()
        if self.proven:
            return await self._connect()
        async with self._probe:
            return await self._connect()

    async def _connect(self) -> Connection:
        try:
            return await self._open()
        except RelayFaultError as error:
            self.fail(error.outcome)
            raise

    def release(self, connection: Connection) -> None:
        """Give a connection back; a broken one is closed."""
        if connection.usable:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()

    def succeed(self) -> None:
        """Note that a mail went through the relay's own checks."""
        self._faults = 0
        self.proven = True

    def fail(self, outcome: Outcome) -> None:
        """Note a relay fault and rest: 1 s, doubling to a minute (5 s while the fault is permanent)."""
        self.proven = False
        # All lanes meet the same fault at once: it counts once.
        if self.resting:
            return
        self._faults += 1
        longest = LONGEST_REST_PERMANENT if outcome.permanent else LONGEST_REST
        self._rest_until = time.monotonic() + min(FIRST_REST * 2 ** min(self._faults - 1, 10), longest)

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop()[0].close()
