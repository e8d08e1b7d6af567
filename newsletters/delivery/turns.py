"""Turns: which issues a process delivers now, and which make room when more are due than it takes at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

# An issue that was turned away and is not heard of for so long is served elsewhere, or has ended.
FORGET_SECONDS = 2.0
# The clock rings for each issue several times a second: one that is silent for so long lets others pass.
SILENT_SECONDS = 0.75
# Whoever makes room has had at least so long.
SHORTEST_TURN_SECONDS = 1.0


@dataclass
class Turns:
    """At most `most` issues at once, round robin. `running` says since when each has its turn."""

    most: int
    clock: Callable[[], float] = time.monotonic
    running: dict[int, float] = field(default_factory=dict)
    # When each issue that was turned away was last heard of, in the order in which they first were.
    _waiting: dict[int, float] = field(default_factory=dict)

    def begin(self, issue_id: int) -> bool:
        """Give an issue a turn; False when it has one, when there is no room, or when others come first."""
        if issue_id in self.running:
            return False
        now = self.clock()
        self._waiting = {issue: seen for issue, seen in self._waiting.items() if now - seen < FORGET_SECONDS}
        self._waiting[issue_id] = now
        first = (issue for issue, seen in self._waiting.items() if now - seen < SILENT_SECONDS)
        if issue_id not in islice(first, max(0, self.most - len(self.running))):
            return False
        del self._waiting[issue_id]
        self.running[issue_id] = now
        return True

    def end(self, issue_id: int) -> None:
        """Take note that an issue's turn is over."""
        del self.running[issue_id]

    def is_to_yield(self, issue_id: int) -> bool:
        """Tell whether an issue has had the longest turn and another waits for it to end."""
        began = self.running[issue_id]
        now = self.clock()
        if len(self.running) < self.most or now - began < SHORTEST_TURN_SECONDS or began > min(self.running.values()):
            return False
        return any(now - seen < FORGET_SECONDS for seen in self._waiting.values())
