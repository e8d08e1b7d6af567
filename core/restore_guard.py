"""The restore guard: is this the database that was worked on last, and has it not gone back in time?"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, F, Q
from django.db.models.functions import Now
from django.http import HttpRequest

from core.errors import ConflictError
from core.models import RestoreGuard
from core.restore_store import Memory

REMEDY = "Run `manage.py accept-restore` when the database is the one to work with."
# Long beside the second between two looks of a worker; afterwards it has stopped, or its store is back.
STORE_FAILURE_STANDS = datetime.timedelta(seconds=15)
_PARTS = ("system_identifier", "timeline", "database_oid", "delivery_table_oid", "guard_table_oid")
_OIDS = """
SELECT (SELECT oid FROM pg_database WHERE datname = current_database()),
       to_regclass('newsletters_delivery')::oid,
       to_regclass('core_restoreguard')::oid,
       has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       has_function_privilege('pg_catalog.pg_walfile_name(pg_lsn)', 'EXECUTE')
         AND has_function_privilege('pg_catalog.pg_current_wal_insert_lsn()', 'EXECUTE')
         AND NOT pg_is_in_recovery()
"""
_SYSTEM = "SELECT system_identifier FROM pg_catalog.pg_control_system()"
_TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
# `local`: waiting for a standby that is away would stop the watch, and its promotion is noticed anyway.
_FLUSH = """
SELECT set_config('synchronous_commit', 'local', true) WHERE current_setting('synchronous_commit') = 'off'
"""


def guard_row() -> RestoreGuard:
    """Return the guard's row, made at the first call in a new database."""
    row = RestoreGuard.objects.filter(pk=1).first()
    if row is None:
        RestoreGuard.objects.bulk_create([RestoreGuard(pk=1)], ignore_conflicts=True)
        row = RestoreGuard.objects.get(pk=1)
    return row


def note_store_failure() -> None:
    """Note that a worker cannot use its store, for `store_report`."""
    guard_row()
    RestoreGuard.objects.filter(pk=1).update(store_failed_at=Now())


def store_report() -> dict[str, Any]:
    """Return what workers last found: `state` is ok, unreachable (at least one cannot use its store) or unknown.

    Each worker has a store of its own, which the web process may not see; unknown is before any has run.
    """
    # One that lies ahead was noted before the database's clock was put back.
    lately = Q(store_failed_at__gt=Now() - STORE_FAILURE_STANDS, store_failed_at__lte=Now())
    row = RestoreGuard.objects.filter(pk=1).annotate(failing=lately).first()
    if row is None:
        return {"state": "unknown", "last_failed_at": None}
    known = "ok" if row.counter else "unknown"
    return {"state": "unreachable" if row.failing else known, "last_failed_at": row.store_failed_at}


def seen(row: RestoreGuard) -> Memory:
    """Return the database as it is now, with the guard's row as it was read."""
    return Memory(str(row.acceptance), row.counter, _parts(), tuple(row.superseded))


def _parts() -> dict[str, str | None]:
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_OIDS)
        *oids, has_system, has_timeline = cursor.fetchone()
        # A statement that names a function the role may not call fails, whether or not it comes to the call.
        values = [_one(cursor, _SYSTEM) if has_system else None, _one(cursor, _TIMELINE) if has_timeline else None]
        values += oids
    return {name: None if value is None else str(value) for name, value in zip(_PARTS, values, strict=True)}


def _one(cursor: Any, statement: str) -> Any:
    cursor.execute(statement)
    (value,) = cursor.fetchone()
    return value


def mismatch(remembered: Memory, found: Memory) -> str | None:
    """Return one sentence on why `found` is not what was worked on last; None when it is."""
    if found.acceptance != remembered.acceptance:
        if found.follows(remembered):
            return None
        return "The database is another one than the service last worked on, or from before its last acceptance."
    if found.counter < remembered.counter:
        return f"The database went back in time: its counter is {found.counter}, {remembered.counter} was seen."
    changed = [
        name for name in _PARTS if None not in (a := remembered.parts.get(name), b := found.parts.get(name)) and a != b
    ]
    return f"The database is another one than before: {', '.join(changed)} changed." if changed else None


def advance(found: Memory) -> RestoreGuard | None:
    """Let the counter grow by one, durably; returns the row, or None when it is blocked or no longer what was found.

    It must be on the database's disk before it is remembered: a crash that loses commits would look like a restore.
    """
    with _durable_commit():
        grown = RestoreGuard.objects.filter(
            pk=1, blocked_at__isnull=True, acceptance=found.acceptance, counter__gte=found.counter
        ).update(counter=F("counter") + 1)
        return guard_row() if grown == 1 else None


@contextlib.contextmanager
def _durable_commit() -> Iterator[None]:
    """Hold a transaction that is flushed to disk by its commit, whatever the session's setting is."""
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(_FLUSH)
        yield


def blocked() -> Exists:
    """Return the condition that sending is blocked, for a WHERE."""
    return Exists(RestoreGuard.objects.filter(pk=1, blocked_at__isnull=False))


def is_blocked() -> bool:
    """Tell whether sending waits for `accept-restore`."""
    return RestoreGuard.objects.filter(pk=1, blocked_at__isnull=False).exists()


def require_unblocked() -> None:
    """Hold off a trip to the end of this transaction; raises ConflictError `sending_blocked` after one.

    To be called after the issue has been moved: a trip blocks the issues that it sees, and this sees a trip that
    came first. Locking only then also keeps the row free while an issue is composed.
    """
    guard_row()
    row = RestoreGuard.objects.select_for_update(no_key=True).get(pk=1)
    if row.blocked_at is not None:
        raise ConflictError("sending_blocked", f"{row.blocked_why} Nothing is sent until then. {REMEDY}")


def banner(_request: HttpRequest) -> dict[str, Any]:
    """Give templates `sending_blocked`, which asks the database only where a page shows it."""
    return {"sending_blocked": is_blocked, "sending_remedy": REMEDY}


def report() -> dict[str, Any]:
    """Return the guard's state: `sending` (ok or blocked), `why`, `remedy`, `counter`, `remembered`, `found`."""
    row = RestoreGuard.objects.filter(pk=1).first() or RestoreGuard()
    is_shut = row.blocked_at is not None
    return {
        "sending": "blocked" if is_shut else "ok",
        "why": row.blocked_why,
        "remedy": REMEDY if is_shut else "",
        "counter": row.counter,
        "remembered": row.remembered,
        "found": row.found,
    }
