"""The clock: an elected thread that asks the database what is due and rings doorbells.

Every worker process runs one; a guarded lease row makes one of them the leader, the same way on
SQLite and behind PgBouncer, where an advisory lock would be held for ever by a stopped process.
"""

from __future__ import annotations

import datetime
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from django.db import DatabaseError, connection, models, transaction
from django.db.models.functions import Now

from core.database import database_now
from core.doorbell import Bell, Doorbell
from core.models import ClockLease

log = structlog.get_logger(__name__)

LEASE = datetime.timedelta(seconds=15)
RENEW_SECONDS = 5.0
TICK_SECONDS = 0.25
REPORT_SECONDS = 5.0
# No lease lasts longer: the database's clock has been put back since it was written. A second is for slewing.
LEAP = datetime.timedelta(seconds=1)
LEAPT_BACK = models.Q(until__gt=Now() + LEASE + LEAP)


@dataclass
class Question:
    """Something the leader asks every `every` seconds; the answer is the bells to ring.

    The same bell is not rung again for `again` seconds: while all threads wait for something slow, a long
    answer at every tick would fill the broker faster than anybody can empty it.
    """

    ask: Callable[[], Iterable[Bell]]
    every: float = TICK_SECONDS
    again: float = 0.0
    due: float = field(default=0.0, init=False)
    _rung: dict[Bell, float] = field(default_factory=dict, init=False)

    def bells(self, now: float) -> list[Bell]:
        """Return what is to be rung now."""
        self._rung = {bell: at for bell, at in self._rung.items() if now - at < self.again}
        fresh = [bell for bell in self.ask() if bell not in self._rung]
        self._rung |= dict.fromkeys(fresh, now)
        return fresh


def take_lease(holder: uuid.UUID) -> bool:
    """Take or renew the clock's lease; True when `holder` has it now.

    Nobody can have it while it shows a leap that nobody has noted.
    """
    free = models.Q(holder=holder) | models.Q(holder__isnull=True) | models.Q(until__lt=Now())
    within_reach = ClockLease.objects.filter(free, ~LEAPT_BACK, pk=1)
    if within_reach.update(holder=holder, until=Now() + LEASE) == 1:
        return True
    if ClockLease.objects.filter(pk=1).exists():
        return False
    # The first clock of all makes the row.
    ClockLease.objects.bulk_create([ClockLease(pk=1)], ignore_conflicts=True)
    return within_reach.update(holder=holder, until=Now() + LEASE) == 1


def give_up_lease(holder: uuid.UUID) -> None:
    """Let another process lead at once."""
    ClockLease.objects.filter(pk=1, holder=holder).update(holder=None)


def note_leap(after: Iterable[Callable[[], None]] = ()) -> bool:
    """If the database's clock has leapt back, call each of `after` in one transaction and free the lease.

    True when this process did. The lease is the evidence, kept until all is done, and there for processes that had not
    started at the time of the leap.
    """
    leapt = ClockLease.objects.filter(LEAPT_BACK, pk=1)
    if not leapt.exists():
        return False
    with transaction.atomic():
        # One process at a time, and the others find nothing left to do.
        if leapt.select_for_update(no_key=True).first() is None:
            return False
        for act in after:
            act()
        ClockLease.objects.filter(pk=1).update(holder=None, until=Now())
    return True


class Clock:
    """The thread; `start`, then `stop` when the worker goes. `after_leap` is called by `note_leap`."""

    def __init__(self, questions: Sequence[Question], after_leap: Sequence[Callable[[], None]] = ()) -> None:
        self._questions = questions
        self._after_leap = after_leap
        self._holder = uuid.uuid4()
        self._broker_error: str | None = None
        self._doorbell = Doorbell(self._remember_broker)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)
        self._renew_at = self._report_at = 0.0
        self._least_ahead = -math.inf
        self._leading = False

    def start(self) -> None:
        self._doorbell.start()
        self._thread.start()

    def drain(self) -> None:
        """Stop leading: a worker that shuts down must not wake itself."""
        self._stopping.set()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)
        self._doorbell.stop()

    def _remember_broker(self, error: str) -> None:
        self._broker_error = error

    def _run(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            try:
                self._tick(time.monotonic())
            except DatabaseError as error:
                self._leading, self._renew_at = False, 0.0
                log.warning("clock_database_error", error=type(error).__name__)
                connection.close()
                self._stopping.wait(1.0)
            except Exception:
                # A mistake in one question must not stop the others for ever.
                log.exception("clock_question_failed")
                connection.close()
        try:
            give_up_lease(self._holder)
        except DatabaseError:
            log.warning("clock_lease_not_given_up")
        connection.close()

    def _tick(self, now: float) -> None:
        if self._leading:
            self._watch_time()
        if now >= self._renew_at:
            note_leap(self._after_leap)
            self._leading = take_lease(self._holder)
            self._renew_at = now + (RENEW_SECONDS if self._leading else TICK_SECONDS * 4)
        if not self._leading:
            return
        # The one that has waited longest goes first: a question that fails comes after all others the next time.
        for question in sorted(self._questions, key=lambda question: question.due):
            if now >= question.due:
                question.due = now + question.every
                for bell in question.bells(now):
                    self._doorbell.ring(bell)
        if now >= self._report_at and self._broker_error is not None:
            self._report_at = now + REPORT_SECONDS
            self._report_broker(self._broker_error)

    def _watch_time(self) -> None:
        """Let the lease show each leap of the database's clock, also one between two renewals."""
        before = time.monotonic()
        read = database_now().timestamp()
        # Nobody knows when within the question the time was read.
        least, most = read - time.monotonic(), read - before
        if least > self._least_ahead + LEAP.total_seconds():
            # As late as it is now, so that a leap back shows even when this process is dead by then.
            self._renew_at = 0.0
        elif most < self._least_ahead - LEAP.total_seconds():
            self._renew_at = 0.0
            ClockLease.objects.filter(pk=1, holder=self._holder).update(until=Now() + 2 * LEASE)
        self._least_ahead = least

    def _report_broker(self, error: str) -> None:
        mine = ClockLease.objects.filter(pk=1, holder=self._holder)
        if error:
            mine.update(broker_error=error[:200])
        else:
            mine.update(broker_error="", broker_ok_at=Now())
