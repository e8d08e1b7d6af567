"""The window of one destination: how many mails may be under way to it, and when it must rest.

It begins at 5 mails, grows by one with each mail that is answered and shrinks by one when the
destination asks to slow down (additive feedback, as in Postfix's queue manager). Below one it closes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from newsletters.delivery.replies import Outcome, Phase, Verdict

START, CAP = 5, 20
FIRST_CLOSURE, LONGEST_CLOSURE = 300, 4_000
# One process's share of the start may be one mail: a single refusal must not close a domain for all of them.
STRIKES = 3
# A mail that takes longer and is taken in the end narrows the window.
SLOW_SECONDS = 5.0
SERVICE_CLOSING = 421
GREYLISTING = frozenset({450, 451})


def says_slow_down(outcome: Outcome, *, attempts: int) -> bool:
    """Tell whether a destination asks for fewer mails, from an outcome after `attempts` earlier ones.

    A 421 or a 4.7.x says so, and silence, which is how a tarpit answers. Greylisting (RFC 6647) does not:
    the first attempt of every new recipient gets its 450 or 451 with 4.7.1, however slowly they come.
    """
    if outcome.verdict is not Verdict.DEFERRED:
        return False
    reply = outcome.reply
    if reply is None:
        return outcome.reason == "timed_out" and outcome.phase in (Phase.RCPT, Phase.DATA, Phase.BODY)
    if reply.code == SERVICE_CLOSING:
        return True
    if reply.status == "4.7.1" and reply.code in GREYLISTING and attempts == 0:
        return False
    return reply.status is not None and reply.status.startswith("4.7.")


def closure_after(closed_seconds: int, *, scale: float = 1.0) -> int:
    """Return the seconds to close for after a closure of `closed_seconds`; 0 when mail was accepted since."""
    return min(max(math.ceil(FIRST_CLOSURE * scale), closed_seconds * 2), math.ceil(LONGEST_CLOSURE * scale))


@dataclass(slots=True, eq=False)
class Window:
    """`size` mails may be under way, `busy` are; times are of the monotonic clock, `closed_until` 0 when open.

    `closed_seconds` is the length of the latest closure until a mail is accepted after it.
    """

    size: int
    cap: int
    busy: int = 0
    strikes: int = 0
    closed_until: float = 0.0
    closed_seconds: int = 0
    idle_since: float = 0.0
    reported: int = 0
    queue: Queue | None = None

    def is_closed(self, clock: Callable[[], float]) -> bool:
        """Tell whether it is closed; when its closure has ended it opens for one mail at a time."""
        if self.closed_until and clock() >= self.closed_until:
            self.reopen()
        return self.closed_until > 0

    def has_room(self, clock: Callable[[], float]) -> bool:
        return not self.is_closed(clock) and self.busy < self.size

    def reopen(self) -> None:
        self.closed_until = 0.0
        self.size, self.strikes = 1, 0

    def limit(self, cap: int) -> None:
        """Take another cap, at least 1."""
        self.cap = cap
        self.size = min(self.size, cap)

    def grow(self) -> None:
        self.strikes = 0
        self.size = min(self.size + 1, self.cap)

    def narrow(self) -> None:
        """Take in that a mail was slow: fewer lanes may wait here, but it asked for no rest."""
        self.strikes = 0
        self.size = max(1, self.size - 1)

    def shrink(self) -> bool:
        """Take one refusal in; True when it was one too many and the destination must close."""
        self.strikes += 1
        if self.size > 1:
            self.size -= 1
            return False
        return self.closed_seconds > 0 or self.strikes >= STRIKES

    def close(self, now: float, *, scale: float) -> None:
        self.closed_seconds = closure_after(self.closed_seconds, scale=scale)
        self.closed_until = now + self.closed_seconds


@dataclass(slots=True, eq=False)
class Queue:
    """The rows that found no room and wait, here or in the database: whose turn comes when.

    `last_turn_at` is when the turn of the row parked last may come, reckoned with `interval` seconds a row;
    the next one stands behind it. `seconds` is what a mail takes, an exponentially weighted mean. With all
    slots in use that tells how fast the rows go; how fast they have gone tells less, while the window grows.
    """

    answered_at: float
    seconds: float = 0.05
    last_turn_at: float = 0.0
    interval: float = 0.0

    SHORTEST: ClassVar[float] = 2.0
    LONGEST: ClassVar[float] = 300.0
    LEAST_INTERVAL: ClassVar[float] = 0.0005
    WEIGHT_OF_LATEST: ClassVar[float] = 0.2
    JITTER: ClassVar[float] = 0.1
    # So much quicker than when rows were parked last, it need not be waited for behind those.
    RECOVERED: ClassVar[int] = 4
    LEAST_ROOM: ClassVar[int] = 20
    MOST_ROOM: ClassVar[int] = 250

    def count_answer(self, now: float, seconds: float) -> None:
        self.seconds += self.WEIGHT_OF_LATEST * (seconds - self.seconds)
        self.answered_at = now

    def room(self, now: float, *, slots: int) -> int:
        """Return how many rows may wait at hand: those whose turn comes before a parked row would be back."""
        return max(self.LEAST_ROOM, min(int(self.SHORTEST / self._interval(now, slots)), self.MOST_ROOM))

    def park(self, now: float, *, slots: int, closed_until: float, scale: float) -> float:
        """Return how many seconds one more row should wait: until it opens, or until its turn may have come."""
        longest = self.LONGEST * scale
        shortest = min(self.SHORTEST, longest)
        if closed_until > now:
            wait = max(closed_until - now, shortest)
        else:
            interval = self._interval(now, slots)
            if interval * self.RECOVERED < self.interval:
                self.last_turn_at = 0.0
            self.interval = interval
            self.last_turn_at = min(max(self.last_turn_at, now + shortest) + interval, now + longest)
            wait = self.last_turn_at - now
        return wait * random.uniform(1, 1 + self.JITTER)  # noqa: S311  # not a secret

    def _interval(self, now: float, slots: int) -> float:
        """Return the seconds from one answer to the next with all slots in use."""
        # A destination that has fallen silent is as slow as its silence is long.
        return max(max(self.seconds, now - self.answered_at) / slots, self.LEAST_INTERVAL)
