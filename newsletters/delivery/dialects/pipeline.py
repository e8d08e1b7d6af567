"""Several statements in one round trip and one transaction, straight through libpq.

A turn of the ledger is three short statements for a dozen mails. Sent through cursors it costs the
worker more time than everything else about a mail; here its parameters are texts that were written once.
Statements between two Sync messages are one transaction (PostgreSQL documentation, "Extended Query"),
so neither BEGIN nor COMMIT is sent.
"""

from __future__ import annotations

import select
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

READ, BOTH = select.POLLIN, select.POLLIN | select.POLLOUT
# Which statements each session has prepared, and IS_SET when its setting has come to stay.
_prepared: weakref.WeakKeyDictionary[psycopg.Connection[Any], set[bytes]] = weakref.WeakKeyDictionary()
IS_SET = b""

Parameters = Sequence[bytes | None]
Command = tuple["Statement", Parameters]
Rows = list[tuple[bytes | None, ...]]


@dataclass(frozen=True)
class Statement:
    """One statement with parameters `$1`, `$2` …; `name` is its name in every session that prepares it."""

    name: bytes
    sql: bytes


BEGIN = Statement(b"courant_begin", b"BEGIN")


def execute(
    raw: psycopg.Connection[Any], commands: Sequence[Command], *, prepare: bool, setting: Statement
) -> list[Rows]:
    """Run the commands as one transaction and return the rows of each, as text.

    With `prepare`, each session runs `setting` once and keeps every statement prepared. Without it, behind
    a pooler that hands the next transaction to another session, `setting` opens each transaction.
    Inside a transaction of the caller's they are a part of it, and he commits them.
    Raises psycopg.Error; nothing is committed then, unless the link was cut while it was being committed.
    """
    known = _prepared.setdefault(raw, set()) if prepare else set()
    opening: list[Command] = [] if IS_SET in known else [(setting, ())]
    if not raw.autocommit and raw.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        # The caller's transaction begins with its first statement, which this is.
        opening.insert(0, (BEGIN, ()))
    # For each result that will come, the statement that it says was prepared; None for one that ran.
    preparing: list[bytes | None] = []
    pgconn = raw.pgconn
    pgconn.enter_pipeline_mode()
    for statement, parameters in [*opening, *commands]:
        if prepare and statement.name not in known and statement.name not in preparing:
            pgconn.send_prepare(statement.name, statement.sql)
            preparing.append(statement.name)
        if prepare:
            pgconn.send_query_prepared(statement.name, parameters)
        else:
            pgconn.send_query_params(statement.sql, parameters)
        preparing.append(None)
    pgconn.pipeline_sync()
    results = list(zip(preparing, _results(pgconn), strict=True))
    pgconn.exit_pipeline_mode()
    # What was prepared before an error stays so, although the transaction is undone.
    known |= {name for name, result in results if name is not None and result.status == pq.ExecStatus.COMMAND_OK}
    for _, result in results:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise error_from_result(result)
    if pgconn.transaction_status == pq.TransactionStatus.IDLE:
        # Rolled back, a setting would be lost with the rest.
        known.add(IS_SET)
    return [_rows(result) for name, result in results if name is None][len(opening) :]


def _results(pgconn: pq.abc.PGconn) -> list[pq.abc.PGresult]:
    """Send everything and return what comes back, up to the Sync."""
    poll = select.poll()
    poll.register(pgconn.socket, READ)
    results: list[pq.abc.PGresult] = []
    while True:
        unsent = pgconn.flush()
        if unsent or pgconn.is_busy():
            poll.modify(pgconn.socket, BOTH if unsent else READ)
            # libpq would wait with the interpreter's lock held, and every lane with it.
            poll.poll()
            pgconn.consume_input()
            continue
        result = pgconn.get_result()
        if result is None:
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)


def _rows(result: pq.abc.PGresult) -> Rows:
    value, columns = result.get_value, range(result.nfields)
    return [tuple(value(row, column) for column in columns) for row in range(result.ntuples)]


def numbers(values: Iterable[float]) -> bytes:
    """Return numbers as the text of an array."""
    return f"{{{','.join(map(str, values))}}}".encode("ascii")


def uuids(values: Iterable[UUID]) -> bytes:
    """Return UUIDs as the text of an array."""
    return f"{{{','.join([value.hex for value in values])}}}".encode("ascii")


def texts(values: Iterable[str | float | None]) -> bytes:
    """Return texts or numbers, or NULL for None, as the text of an array."""
    return f"{{{','.join(map(_element, values))}}}".encode()


def _element(value: str | float | None) -> str:
    if value is None:
        return "NULL"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
