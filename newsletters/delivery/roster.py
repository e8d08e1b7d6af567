"""The roster: the worker processes that deliver now, among which limits on connections are divided.

Each process writes its row every few seconds and reads the others'. A process takes a part only when
all others know of it, and gives its part up before the others stop counting it. So together they never
take more than the limit, except for mails still in flight when a part becomes smaller.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from django.db.models.functions import Now

from newsletters.models import ActiveCourier

log = structlog.get_logger(__name__)

BEAT_SECONDS = 5.0
# While the others have not noticed this process, it looks more often.
SETTLING_BEAT_SECONDS = 0.25
FRESH_SECONDS = 15.0
KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _View:
    """The roster as one beat saw it: begun at `at` on this process's clock, written at `seen_at` on the database's."""

    at: float
    seen_at: datetime.datetime
    rank: int
    size: int
    known_to_all: bool


@dataclass
class Roster:
    """This process's place among those that deliver. `beat` and `leave` belong to one thread, `share` to any."""

    holder: uuid.UUID = field(default_factory=uuid.uuid4)
    clock: Callable[[], float] = time.monotonic
    _view: _View | None = None
    _joined_at: datetime.datetime | None = None

    @property
    def beat_at(self) -> float:
        """When the next beat is due, on this process's clock."""
        if self._view is None:
            return 0.0
        return self._view.at + (BEAT_SECONDS if self._view.known_to_all else SETTLING_BEAT_SECONDS)

    def beat(self) -> None:
        """Write that this process is alive, remove those long dead, and see who else there is. Raises DatabaseError."""
        at = self.clock()
        # Written before the others are read: whoever writes after this process has read will find it.
        row = ActiveCourier(holder=self.holder)
        ActiveCourier.objects.bulk_create(
            [row], update_conflicts=True, unique_fields=["holder"], update_fields=["seen_at"]
        )
        ActiveCourier.objects.filter(seen_at__lt=Now() - datetime.timedelta(seconds=KEPT_SECONDS)).delete()
        fresh = ActiveCourier.objects.filter(seen_at__gt=Now() - datetime.timedelta(seconds=FRESH_SECONDS))
        seen: dict[uuid.UUID, datetime.datetime] = {}
        read_at: datetime.datetime | None = None
        for holder, seen_at, now in fresh.values_list("holder", "seen_at", Now()):
            seen[holder], read_at = seen_at, now
        if read_at is None or self.holder not in seen:
            # Between its own two statements it was stopped so long that it is no longer counted.
            self._view = None
            return
        self._look(seen, at=at, read_at=read_at)

    def _look(self, seen: Mapping[uuid.UUID, datetime.datetime], *, at: float, read_at: datetime.datetime) -> None:
        before = self._view
        if before is None or (read_at - before.seen_at).total_seconds() >= FRESH_SECONDS:
            # The others may have divided everything without this process: it joins anew.
            self._joined_at, before = read_at, None
        assert self._joined_at is not None
        others = [seen_at for holder, seen_at in seen.items() if holder != self.holder]
        known = before is not None and before.known_to_all
        known = known or all(seen_at > self._joined_at for seen_at in others)
        rank, size = sorted(seen).index(self.holder), len(seen)
        if before is None or (before.rank, before.size) != (rank, size):
            log.info("roster_changed", rank=rank, size=size)
        self._view = _View(at, seen[self.holder], rank, size, known)

    def leave(self) -> None:
        """Take this process off the roster, so that the others need not wait for it. Raises DatabaseError."""
        self._view = None
        ActiveCourier.objects.filter(holder=self.holder).delete()

    def share(self, total: int) -> int:
        """Return this process's part of `total`; 0 while others do not know of it, or no longer count it.

        The parts of all processes are equal but for the remainder, which goes to the first of them.
        """
        view = self._view
        if view is None or not view.known_to_all or self.clock() - view.at >= FRESH_SECONDS:
            return 0
        return total // view.size + (view.rank < total % view.size)
