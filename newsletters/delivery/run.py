"""One issue being delivered by one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from newsletters.delivery.breaker import Breaker
from newsletters.delivery.editions import Facts
from newsletters.delivery.ledger import Ledger
from newsletters.delivery.pacing import Pacing
from newsletters.delivery.relay import RelayPool
from newsletters.delivery.throttle import Throttle
from newsletters.delivery.trials import Trials


@dataclass(eq=False)
class Run:
    """What the lanes of an issue share, and whether they are to end.

    `age` is how long it had been sending when the run began, in seconds; `on_stop` is told of a stop at once.
    `hungry` says that it has no lane because others have all that it could have.
    """

    issue_id: int
    facts: Facts
    ledger: Ledger
    relay: RelayPool
    breaker: Breaker
    pacing: Pacing
    throttle: Throttle
    trials: Trials
    age: float = 0.0
    stopped: bool = False
    hungry: bool = False
    began: float = field(default_factory=monotonic)
    on_stop: list[Callable[[], None]] = field(default_factory=list)

    @property
    def seconds_sending(self) -> float:
        """Seconds that the issue has been sending, pauses excluded."""
        return self.age + monotonic() - self.began

    @property
    def proven(self) -> bool:
        """Whether the relay is known to take mails of this issue: until then, one lane at a time may try."""
        return self.relay.proven and self.trials.proven(self.issue_id)

    def stop(self) -> None:
        """Make every lane end after the mail in its hands."""
        if not self.stopped:
            self.stopped = True
            for tell in self.on_stop:
                tell()
