"""The database's clock, the only one that decides anything."""

from __future__ import annotations

import datetime

from django.db import connection

_NOW = {
    "postgresql": "SELECT statement_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
}


def database_now() -> datetime.datetime:
    """Return the database's current time, aware."""
    with connection.cursor() as cursor:
        cursor.execute(_NOW[connection.vendor])
        (now,) = cursor.fetchone()
    return now if isinstance(now, datetime.datetime) else datetime.datetime.fromisoformat(now)
