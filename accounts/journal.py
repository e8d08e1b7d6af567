"""The log of requests with a key, kept off their path: a bounded queue in memory, and one thread that writes.

A request only appends to the queue. When that is full (the database is away, or slower than the requests come), the
entry is dropped and counted. A process that ends in order writes what is left; one that is killed loses what came
since the last write, a second's worth. The same thread notes when keys were last used.
"""

from __future__ import annotations

import atexit
import json
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections, connection
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import ApiKey, LoggedRequest
from core.database import database_now

log = structlog.get_logger(__name__)

MOST_WAITING = 10_000
FLUSH_SECONDS = 1.0
STOP_SECONDS = 5.0
BATCH = 1_000
SEEN_EVERY = timedelta(minutes=1)
FORGET_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered request. `problem` is the body of an error; `ended` a moment of the monotonic clock."""

    key: ApiKey
    request_id: str
    method: str
    operation: str
    status: int
    problem: bytes
    milliseconds: float
    ended: float


class Journal:
    """Takes entries without ever blocking, and writes them once a second. `start` it, or it takes none."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._waiting: deque[Entry] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._open = False
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def start(self) -> None:
        """Take entries from now on, and write them until the process ends."""
        self.open()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def open(self) -> None:
        """Take entries; somebody else calls `flush`."""
        self._open = True

    def stop(self) -> None:
        """Write what is left, for at most 5 s."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=STOP_SECONDS)

    def note(self, entry: Entry) -> None:
        """Remember an answered request for the next write."""
        if not self._open:
            return
        with self._lock:
            if len(self._waiting) < self._most:
                self._waiting.append(entry)
            else:
                self.dropped += 1

    def flush(self) -> int:
        """Write all that waits; return how many. Raises DatabaseError; what can be written later is kept."""
        written = 0
        while batch := self._take():
            try:
                _write(batch)
            except (OperationalError, InterfaceError, IntegrityError):
                with self._lock:
                    self._waiting.extendleft(reversed(batch))
                raise
            except Exception:
                # What cannot be written must not be tried for ever.
                with self._lock:
                    self.dropped += len(batch)
                raise
            written += len(batch)
        return written

    def _take(self) -> list[Entry]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _run(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            self._flush_or_tell()
        self._flush_or_tell()
        connection.close()

    def _flush_or_tell(self) -> None:
        try:
            close_old_connections()
            self.flush()
        except Exception as error:  # noqa: BLE001  # the thread must outlive whatever one write meets
            log.warning("api_requests_not_written", error=type(error).__name__, waiting=len(self._waiting))
            connection.close()
        with self._lock:
            dropped, self.dropped = self.dropped, 0
        if dropped:
            log.warning("api_requests_dropped", dropped=dropped)


def _write(batch: list[Entry]) -> None:
    # A publisher may have been deleted meanwhile, and its keys with it.
    used = set(ApiKey.objects.filter(pk__in={entry.key.pk for entry in batch}).values_list("pk", flat=True))
    unseen = Q(last_used_at__isnull=True) | Q(last_used_at__lt=Now() - SEEN_EVERY)
    ApiKey.objects.filter(unseen, pk__in=used).update(last_used_at=Now())
    if settings.API_REQUEST_LOG_DAYS:
        now, moment = database_now(), time.monotonic()
        rows = [(entry, now - timedelta(seconds=moment - entry.ended)) for entry in batch if entry.key.pk in used]
        LoggedRequest.objects.bulk_create(_row(entry, at) for entry, at in rows)


def _row(entry: Entry, at: datetime) -> LoggedRequest:
    return LoggedRequest(
        publisher_id=entry.key.publisher_id,
        api_key_id=entry.key.pk,
        at=at,
        request_id=entry.request_id,
        method=entry.method[:10],
        operation=entry.operation,
        status=entry.status,
        code=_code_of(entry.problem),
        milliseconds=round(entry.milliseconds, 1),
    )


def _code_of(problem: bytes) -> str:
    try:
        return str(json.loads(problem)["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def forget_old() -> int:
    """Remove up to 5,000 of the oldest entries that are no longer kept; return how many went."""
    oldest = list(LoggedRequest.objects.order_by("pk").values_list("pk", flat=True)[:FORGET_AT_ONCE])
    kept = timedelta(days=settings.API_REQUEST_LOG_DAYS)
    return LoggedRequest.objects.filter(pk__in=oldest, at__lt=Now() - kept).delete()[0]


# The one of this process.
journal = Journal()
