"""The relay as one process sees it: its connections, and whether and how widely it may be tried now."""

from __future__ import annotations

import asyncio
import sys
import time
import weakref
from collections.abc import Awaitable, Callable

from newsletters.delivery.replies import Outcome, Phase
from newsletters.delivery.smtp import Connection, RelayFaultError
from newsletters.delivery.transaction import CONNECTION_ENDED, SERVICE_CLOSING

IDLE_SECONDS = 20.0
FIRST_REST = 1.0
LONGEST_REST = 60.0
LONGEST_REST_PERMANENT = 5.0
# After a refusal of one connection more: no other for so long, and one more than worked after so long each.
FULL_SECONDS = 1.0
WIDEN_SECONDS = 15.0
# A mail that went through less than so long ago shows that the relay is at work.
AT_WORK_SECONDS = 30.0


class RelayFullError(RelayFaultError):
    """The relay takes no further connection, but those that it has are at work: only this lane has to end."""


class RelayPool:
    """Idle connections, newest first, the back-off after relay faults, and the relay's own limit of connections.

    Until a mail has gone through (`proven`), one lane at a time may try, so that a wrong password or
    a refused sender costs a handful of attempts and not one for each lane.
    """

    def __init__(self, open_connection: Callable[[], Awaitable[Connection]]) -> None:
        self._open = open_connection
        self._idle: list[tuple[Connection, float]] = []
        self._held: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._opening = 0
        self._probe = asyncio.Lock()
        self._sweeper: asyncio.TimerHandle | None = None
        self._rest_until = 0.0
        self._faults = 0
        self._succeeded_at = -AT_WORK_SECONDS
        # The last refusal of one connection more: how many there may be since, when it was and what was said.
        self._full: tuple[int, float, Outcome] | None = None
        self.proven = False

    @property
    def resting(self) -> float:
        """Seconds until the relay may be tried again; 0 when it may be tried now."""
        return max(0.0, self._rest_until - time.monotonic())

    @property
    def room(self) -> int:
        """How many lanes more may take a connection now: sys.maxsize unless the relay has refused one more."""
        if self._full is None:
            return sys.maxsize
        _, since, _ = self._full
        open_now = self._in_use + self._opening + len(self._idle)
        is_fresh = time.monotonic() - since < FULL_SECONDS
        return len(self._idle) + (0 if is_fresh else max(0, self.most - open_now))

    @property
    def most(self) -> int:
        """How many connections the relay may be asked for: sys.maxsize unless it has refused one more."""
        if self._full is None:
            return sys.maxsize
        most, since, _ = self._full
        return most + int((time.monotonic() - since) / WIDEN_SECONDS)

    @property
    def _in_use(self) -> int:
        return sum(connection.usable for connection in self._held)

    async def acquire(self) -> Connection:
        """Return a usable connection. Raises RelayFaultError, whose fault has been counted.

        Raises RelayFullError when the relay wants no more connections than it has.
        """
        while self._idle:
            connection, since = self._idle.pop()
            if connection.usable and time.monotonic() - since < IDLE_SECONDS:
                self._held.add(connection)
                return connection
            connection.close()
        if self._full is not None and not self.room:
            raise RelayFullError(self._full[2])
        if self.proven:
            return await self._connect()
        async with self._probe:
            return await self._connect()

    async def _connect(self) -> Connection:
        self._opening += 1
        try:
            connection = await self._open()
        except RelayFaultError as error:
            if self._is_full(error.outcome):
                self._narrow(error.outcome)
                raise RelayFullError(error.outcome) from error
            self.fail(error.outcome)
            raise
        finally:
            self._opening -= 1
        self._held.add(connection)
        if self._full is not None:
            # Others were on their way when it refused one.
            most, since, outcome = self._full
            self._full = max(most, self._in_use), since, outcome
        return connection

    def release(self, connection: Connection) -> None:
        """Give a connection back; a broken or worn out one is closed."""
        self._held.discard(connection)
        if not connection.usable:
            connection.close()
            return
        self._idle.append((connection, time.monotonic()))
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what nobody has wanted for long; a relay would do it sooner or later, at a worse moment."""
        self._sweeper = None
        now, waiting = time.monotonic(), self._idle
        self._idle = [(one, since) for one, since in waiting if one.usable and now - since < IDLE_SECONDS]
        kept = {one for one, _ in self._idle}
        for connection, _ in waiting:
            if connection not in kept:
                connection.close()
        if self._idle:
            seconds = self._idle[0][1] + IDLE_SECONDS - now
            self._sweeper = asyncio.get_running_loop().call_later(seconds, self._sweep)

    def succeed(self) -> None:
        """Note that a mail went through the relay's own checks."""
        self._faults = 0
        self._succeeded_at = time.monotonic()
        self.proven = True

    def fail(self, outcome: Outcome) -> None:
        """Note a relay fault and rest: 1 s, doubling to a minute (5 s while the fault is permanent).

        Not after the end of a used connection, nor while others are at work and only one more is refused.
        """
        if outcome.reason == CONNECTION_ENDED:
            return
        if self._is_full(outcome):
            self._narrow(outcome)
            return
        self.proven = False
        # All lanes meet the same fault at once: it counts once.
        if self.resting:
            return
        self._faults += 1
        longest = LONGEST_REST_PERMANENT if outcome.permanent else LONGEST_REST
        self._rest_until = time.monotonic() + min(FIRST_REST * 2 ** min(self._faults - 1, 10), longest)

    def _is_full(self, outcome: Outcome) -> bool:
        """Whether a fault means no more than: not one more connection beside those at work."""
        refused = outcome.phase is Phase.CONNECT or (
            outcome.reply is not None and outcome.reply.code == SERVICE_CLOSING
        )
        at_work = time.monotonic() - self._succeeded_at < AT_WORK_SECONDS
        return refused and not outcome.permanent and at_work and self._in_use > 0

    def _narrow(self, outcome: Outcome) -> None:
        # One less at a time: a relay may not have noticed yet that a worn out connection was closed.
        most = self._in_use if self._full is None else max(self._in_use, self.most - 1)
        self._full = max(1, most), time.monotonic(), outcome

    def close(self) -> None:
        """Close every idle connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._idle:
            self._idle.pop()[0].close()
