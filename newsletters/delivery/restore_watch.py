"""Watching that a worker sends from the database it knows: the thread beside the courier, and the trip."""

from __future__ import annotations

import dataclasses
import socket
import threading

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models.functions import Now

from core.models import RestoreGuard
from core.restore_guard import REMEDY, advance, guard_row, mismatch, note_store_failure, seen
from core.restore_store import Memory, Store, UnreachableError, UnreadableError
from newsletters.models import Issue, IssueState

log = structlog.get_logger(__name__)

RESTORE_GUARD = "restore_guard"
TICK_SECONDS = 1.0


def trip(why: str, *, remembered: Memory | None) -> bool:
    """Block sending and every issue that is being sent, in one transaction.

    False when, with the guard's row locked, what is remembered matches after all, or it was blocked already.
    `remembered` is None when it cannot be read.
    """
    with transaction.atomic():
        # Issues before the guard's row, as everybody locks them; those that begin meanwhile are seen by the move.
        list(
            Issue.objects.filter(state=IssueState.SENDING)
            .order_by("pk")
            .select_for_update(no_key=True)
            .values_list("pk")
        )
        guard_row()
        row = RestoreGuard.objects.select_for_update(no_key=True).get(pk=1)
        found = seen(row)
        if row.blocked_at is not None or (remembered is not None and mismatch(remembered, found) is None):
            return False
        RestoreGuard.objects.filter(pk=1, blocked_at__isnull=True).update(
            blocked_at=Now(),
            blocked_why=why[:300],
            remembered=dataclasses.asdict(remembered) if remembered else None,
            found=dataclasses.asdict(found),
        )
        Issue.objects.all().move(
            [IssueState.SENDING], IssueState.BLOCKED, state_reason=RESTORE_GUARD, state_detail=f"{why} {REMEDY}"[:500]
        )
    log.error("restore_guard_tripped", why=why, remedy=REMEDY)
    return True


class Watch:
    """Recognises the database before the first mail, after each claim and once a second."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Memory | None = None
        self._is_open = False
        self._told = ""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="restore-guard", daemon=True)

    def start(self) -> None:
        if self._store.name == "off":
            log.warning("restore_guard_off", remedy="Set RESTORE_GUARD_STORE to notice a restored database.")
        self._thread.start()

    def drain(self) -> None:
        """Watch on: mails in hand are still to be finished."""

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(timeout=5)

    def may_send(self) -> bool:
        """Tell whether the database has been recognised; looks for itself before the first time."""
        return self._is_open or self.check()

    def look(self) -> bool:
        """Compare the guard's row with what this process knows, by one short query; False when sending is blocked."""
        known = self._known
        same = (
            known is not None
            and RestoreGuard.objects.filter(
                pk=1, blocked_at__isnull=True, acceptance=known.acceptance, counter__gte=known.counter
            ).exists()
        )
        return same or self.check()

    def check(self) -> bool:
        """Compare database and memory, let the counter grow and remember it; False when nothing may be sent.

        Raises DatabaseError.
        """
        with self._lock:
            self._is_open = self._check()
            return self._is_open

    def _check(self) -> bool:
        # The memory is read first: what the database says afterwards can only be more.
        try:
            remembered = self._store.read()
        except UnreadableError as error:
            host = socket.gethostname()
            trip(f"{error} It is the memory of {host}: accept there.", remembered=None)
            return self._refuse(str(error))
        except UnreachableError as error:
            self._tell("restore_guard_store_unreachable", str(error))
            note_store_failure()
            # Passing, as when files run out: a process that has recognised its database goes by what it knows itself.
            if self._known is None:
                return False
            remembered = None
        row = guard_row()
        if row.blocked_at is not None:
            return self._refuse(row.blocked_why)
        found = seen(row)
        for memory in (remembered, self._known):
            why = mismatch(memory, found) if memory else None
            if why:
                trip(why, remembered=memory)
                return self._refuse(why)
        return self._advance(found, is_first=remembered is None and self._known is None)

    def _advance(self, found: Memory, *, is_first: bool) -> bool:
        row = advance(found)
        if row is None or row.blocked_at is not None:
            return False
        known = dataclasses.replace(
            found, acceptance=str(row.acceptance), counter=row.counter, superseded=tuple(row.superseded)
        )
        try:
            self._store.remember(known)
        except (UnreachableError, UnreadableError) as error:
            self._tell("restore_guard_cannot_remember", str(error))
            note_store_failure()
            # Before the first mail it must be remembered, or a restore now would never be seen.
            return self._known is not None
        if is_first:
            log.info("restore_guard_adopted", store=self._store.name, counter=known.counter)
        self._known, self._told = known, ""
        return True

    def _refuse(self, why: str) -> bool:
        # What was known before an acceptance must not speak against it: the store and the row decide.
        self._tell("sending_blocked", why)
        return False

    def _tell(self, event: str, why: str) -> None:
        if self._told != event + why:
            self._told = event + why
            log.error(event, why=why, remedy=REMEDY)

    def _run(self) -> None:
        while True:
            try:
                self.check()
            except (DatabaseError, InterfaceError) as error:
                log.warning("restore_guard_database_error", error=type(error).__name__)
                connection.close()
            except Exception:
                # Without this thread a live worker would notice a restore only at its next claim.
                log.exception("restore_guard_failed")
                connection.close()
            if self._stopping.wait(TICK_SECONDS):
                break
        connection.close()


_registered: list[Watch] = []
_expected: list[bool] = []


def register(watch: Watch) -> None:
    """Make a watch the one of this process."""
    _registered[:] = [watch]


def expect() -> None:
    """Say that a watch will be registered in this process: until then nothing is sent."""
    _expected[:] = [True]


def may_send() -> bool:
    """Tell whether this process may start issues and claim; True where nobody watches, as in commands and tests."""
    return _registered[0].may_send() if _registered else not _expected


def look() -> bool:
    """Look at the database again after a claim; False when sending is blocked."""
    return _registered[0].look() if _registered else not _expected
