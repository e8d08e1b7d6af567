"""Pacing: the destinations to which one process has mail, and what the database must know of them.

A destination is a recipient domain of one publisher. The database holds closures and limits for all
processes: `reports` says what it must learn, `learn` takes what it says.

Of one event loop: nothing here is thread-safe, waits, or touches the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from newsletters.delivery.replies import Outcome, Reply, Verdict
from newsletters.delivery.window import CAP, SLOW_SECONDS, START, Queue, Window, says_slow_down

# Publisher id, and domain in A-labels and lower case.
Key = tuple[int, str]

FORGET_SECONDS = 60.0
WINDOWS_SECONDS = 5.0
REPORTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Known:
    """What the database says about a destination; `closed_for` is in seconds from now, 0 when it is open."""

    key: Key
    max_concurrency: int | None
    closed_for: float
    closed_seconds: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the database says about the destinations of these publishers."""

    publishers: frozenset[int]
    destinations: list[Known]


@dataclass(frozen=True, slots=True)
class Reports:
    """What the database must learn, in this order: recoveries, closures with the reply, windows in use."""

    recoveries: list[Key] = field(default_factory=list)
    closures: list[tuple[Key, str]] = field(default_factory=list)
    windows: list[tuple[Key, int]] = field(default_factory=list)


class Pacing:
    """The destinations of one process. `share` gives its part of a limit that holds for all processes.

    At least one mail may be under way, however many processes share a limit. `scale` is that of the
    retry schedule. With `enabled` false everybody is admitted and nothing is kept.
    """

    def __init__(
        self,
        share: Callable[[int], int],
        *,
        scale: float = 1.0,
        enabled: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._scale = scale
        self._enabled = enabled
        self._clock = clock
        self._windows: dict[Key, Window] = {}
        self._known: dict[Key, Known] = {}
        self._known_at = 0.0
        self._closures: dict[Key, str] = {}
        self._recoveries: dict[Key, None] = {}
        self._asked = Reports()
        self._windows_due = 0.0
        self._take_shares()

    def __len__(self) -> int:
        """Return how many destinations are kept in memory."""
        return len(self._windows)

    def admit(self, key: Key) -> bool:
        """Take a slot for one mail; False when the destination is closed or its window is full."""
        if not self._enabled:
            return True
        window = self._window(key)
        if window.is_closed(self._clock):
            return False
        if window.busy >= window.size:
            self._queue_of(window)
            return False
        if window.queue is not None and not window.busy:
            window.queue.answered_at = self._clock()
        window.busy += 1
        window.idle_since = 0.0
        return True

    def release(self, key: Key) -> bool:
        """Give a slot back for a mail that was never attempted; True when there is room for another now."""
        if not self._enabled:
            return True
        window = self._windows[key]
        window.busy -= 1
        return self._leave(key, window)

    def settle(self, key: Key, outcome: Outcome, *, attempts: int, seconds: float = 0.0) -> bool:
        """Give a slot back with what the attempt came to; True when there is room for another now.

        `attempts` counts the row's earlier attempts, `seconds` is how long this one took. A slow mail
        narrows the window: a tarpit takes them all in the end, and would take all lanes. While the
        destination is closed an outcome changes nothing: its attempt began before.
        """
        if not self._enabled:
            return True
        window = self._windows[key]
        window.busy -= 1
        if window.queue is not None:
            window.queue.count_answer(self._clock(), seconds)
        if not window.is_closed(self._clock):
            self._feed_back(key, window, outcome, attempts=attempts, slow=seconds > SLOW_SECONDS)
        return self._leave(key, window)

    def has_room(self, key: Key) -> bool:
        """Tell whether `admit` would give a slot now."""
        return not self._enabled or self._window(key).has_room(self._clock)

    def closed_seconds(self, key: Key) -> float:
        """Return the seconds until the destination opens; 0 when it is open."""
        if not self._enabled:
            return 0.0
        window = self._window(key)
        return max(0.0, window.closed_until - self._clock()) if window.is_closed(self._clock) else 0.0

    def park_seconds(self, key: Key) -> float:
        """Return how long a row that found no room should wait in the queue, until its turn may have come."""
        if not self._enabled:
            return 0.0
        window = self._window(key)
        window.is_closed(self._clock)
        return self._queue_of(window).park(
            self._clock(), slots=window.cap, closed_until=window.closed_until, scale=self._scale
        )

    def waiting_room(self, key: Key) -> int:
        """Return how many claimed rows may wait at hand for a slot; 0 while the destination is closed."""
        if not self._enabled:
            return 0
        window = self._window(key)
        if window.is_closed(self._clock):
            return 0
        return self._queue_of(window).room(self._clock(), slots=window.cap)

    def reports(self) -> Reports:
        """Return what the database must learn; to be asked about once a second.

        Closures and recoveries come again with the next call until `learn` shows that they have arrived.
        """
        now = self._clock()
        self._forget_idle(now)
        recoveries = list(islice(self._recoveries, REPORTS_AT_ONCE))
        closures = list(islice(self._closures.items(), REPORTS_AT_ONCE))
        self._asked = Reports(recoveries, closures, self._changed_windows(now))
        return self._asked

    def learn(self, snapshot: Snapshot) -> None:
        """Take what the database says after the latest reports.

        Closures by other processes, limits edited and destinations reopened by a person take effect here.
        """
        for key in self._asked.recoveries:
            self._recoveries.pop(key, None)
        for key, _ in self._asked.closures:
            self._closures.pop(key, None)
        self._asked = Reports()
        self._known = {known.key: known for known in snapshot.destinations}
        self._known_at = self._clock()
        self._take_shares()
        for key, window in self._windows.items():
            if key[0] in snapshot.publishers:
                self._correct(key, window)

    def _take_shares(self) -> None:
        self._start = max(1, self._share(START))
        self._cap = max(1, self._share(CAP))

    def _window(self, key: Key) -> Window:
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = Window(self._start, self._cap)
            if key in self._known:
                self._correct(key, window)
                if window.closed_seconds:
                    window.size = 1
        return window

    def _correct(self, key: Key, window: Window) -> None:
        """Make a window what the database says, unless we know better and have yet to say so."""
        known = self._known.get(key)
        limit = known.max_concurrency if known else None
        window.limit(self._cap if limit is None else max(1, self._share(limit)))
        if key in self._closures:
            return
        closed_for = known.closed_for if known else 0.0
        if closed_for or window.closed_until:
            window.reopen()
        if closed_for:
            window.closed_until = self._known_at + closed_for
        if key not in self._recoveries:
            window.closed_seconds = known.closed_seconds if known else 0

    def _feed_back(self, key: Key, window: Window, outcome: Outcome, *, attempts: int, slow: bool) -> None:
        if outcome.verdict is Verdict.SENT or outcome.verdict is Verdict.BOUNCED:
            if slow:
                window.narrow()
            else:
                window.grow()
            if window.closed_seconds:
                window.closed_seconds = 0
                self._recoveries[key] = None
                # A closure that the database never heard of has ended by itself.
                self._closures.pop(key, None)
        elif says_slow_down(outcome, attempts=attempts) and window.shrink():
            window.close(self._clock(), scale=self._scale)
            self._closures[key] = _words_of(outcome.reply)

    def _leave(self, key: Key, window: Window) -> bool:
        """Forget a window nobody waits for with its last slot, so that a million domains need no memory."""
        if (
            window.busy == 0
            and window.queue is None
            and window.size >= self._start
            and not (window.strikes or window.closed_seconds)
            and key not in self._known
        ):
            del self._windows[key]
            return True
        return window.has_room(self._clock)

    def _queue_of(self, window: Window) -> Queue:
        """Measure from now on how often it answers: somebody wants to know."""
        if window.queue is None:
            window.queue = Queue(self._clock())
        return window.queue

    def _changed_windows(self, now: float) -> list[tuple[Key, int]]:
        """Return the windows in use of the destinations that have a row, as if they were all processes'."""
        if now < self._windows_due:
            return []
        self._windows_due = now + WINDOWS_SECONDS
        changed: list[tuple[Key, int]] = []
        for key, known in self._known.items():
            window = self._windows.get(key)
            if len(changed) == REPORTS_AT_ONCE:
                break
            if window is not None and window.size != window.reported:
                window.reported = window.size
                changed.append((key, max(1, round(window.size * (known.max_concurrency or CAP) / window.cap))))
        return changed

    def _forget_idle(self, now: float) -> None:
        forgotten = []
        for key, window in self._windows.items():
            if window.busy or key in self._closures or window.is_closed(self._clock):
                continue
            window.idle_since = window.idle_since or now
            if now - window.idle_since >= FORGET_SECONDS:
                forgotten.append(key)
        for key in forgotten:
            del self._windows[key]


def _words_of(reply: Reply | None) -> str:
    return f"{reply.code} {reply.text}" if reply else "No answer in time."
