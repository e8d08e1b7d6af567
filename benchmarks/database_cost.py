"""What PostgreSQL was asked to do: transactions, write-ahead log, and statements when they are counted."""

from __future__ import annotations

import time
from typing import LiteralString

import psycopg

# Idle sessions report their counts within this time (PostgreSQL's PGSTAT_IDLE_INTERVAL is 10 s, its flush 1 s).
REPORTING_SECONDS = 1.5
COUNTS: LiteralString = """
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'), xact_commit + xact_rollback
FROM pg_stat_database WHERE datname = current_database()
"""
STATEMENTS: LiteralString = """
SELECT calls, rows, total_exec_time, wal_bytes, ltrim(regexp_replace(query, '\\s+', ' ', 'g'))
FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid AND d.datname = current_database()
WHERE query NOT ILIKE '%pg_stat%' AND query NOT LIKE 'SELECT $1 FROM newsletters_issue%'
ORDER BY total_exec_time DESC
"""


class DatabaseCost:
    """Counts since it was made, in the database of its connection."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._before = self._now()

    def used(self) -> dict[str, float]:
        """Return `wal_bytes` and `transactions` so far."""
        after = self._now()
        return {name: after[name] - self._before[name] for name in after}

    def _now(self) -> dict[str, float]:
        time.sleep(REPORTING_SECONDS)
        row = self._connection.execute(COUNTS).fetchone()
        assert row is not None
        return {"wal_bytes": float(row[0]), "transactions": float(row[1])}


def count_statements(connection: psycopg.Connection, *, on: bool) -> None:
    """Begin to count statements afresh, or stop; takes effect in every session at its next command."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    connection.execute(f"ALTER SYSTEM SET pg_stat_statements.track = '{'top' if on else 'none'}'")
    connection.execute("SELECT pg_reload_conf()")
    time.sleep(REPORTING_SECONDS)
    if on:
        connection.execute("SELECT pg_stat_statements_reset()")


def statements(connection: psycopg.Connection) -> list[tuple[int, int, float, float, str]]:
    """Return (calls, rows, milliseconds, WAL bytes, text) of each kind of statement, the most expensive first."""
    rows = connection.execute(STATEMENTS).fetchall()
    return [(row[0], row[1], float(row[2]), float(row[3]), row[4]) for row in rows]
