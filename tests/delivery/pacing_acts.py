"""What pacing tests do again and again: a process with a clock of its own, and the outcomes it meets."""

from __future__ import annotations

from dataclasses import dataclass, field

from newsletters.delivery.pacing import Key, Known, Pacing, Snapshot
from newsletters.delivery.replies import Outcome, Phase, Reply, classify, cut

KEY: Key = (1, "example.org")
SENT = classify(Phase.DOT, Reply(250, "2.0.0", "queued"))
BOUNCED = classify(Phase.RCPT, Reply(550, "5.1.1", "no such user"))
SLOW = classify(Phase.RCPT, Reply(421, "4.7.0", "slow down"))
FULL = classify(Phase.RCPT, Reply(452, "4.2.2", "mailbox full"))
TIMED_OUT = cut(Phase.RCPT, "timed_out")


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Process:
    """The pacing of one of `processes` that share every limit."""

    processes: int = 1
    scale: float = 1.0
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.pacing = Pacing(lambda limit: limit // self.processes, scale=self.scale, clock=self.clock)

    def take(self, key: Key = KEY) -> int:
        """Take every slot there is; return how many."""
        taken = 0
        while self.pacing.admit(key):
            taken += 1
        return taken

    def fill(self) -> int:
        """Have mail enough for a window to grow as far as it can, and every slot taken; return how many there are."""
        self.take()
        for _ in range(60):
            self.pacing.settle(KEY, SENT, attempts=0)
            self.take()
        return self.pacing._windows[KEY].busy

    def attempt(self, *outcomes: Outcome, attempts: int = 1, key: Key = KEY) -> None:
        for outcome in outcomes:
            assert self.pacing.admit(key)
            self.pacing.settle(key, outcome, attempts=attempts)

    def learn(self, *known: Known, publisher: int = 1) -> None:
        self.pacing.reports()
        self.pacing.learn(Snapshot(frozenset([publisher]), list(known)))

    def close(self) -> None:
        self.attempt(*[SLOW] * 5)
        assert self.pacing.closed_seconds(KEY) > 0
