"""Wait until another session of the database waits for this one, so that a test knows what comes first."""

from __future__ import annotations

from django.db import connection

from tests.services.processes import wait_until

# Locks are looked up anew each time, unlike the activity of others, which a transaction sees as at its first look.
WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"


def wait_for_a_waiter(why: str) -> None:
    """Return when another session waits for something that this one holds; raise ServiceError if none ever does."""

    def waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(WAITS)
            return bool(cursor.fetchone()[0])

    wait_until(waits, why, seconds=120)
