"""A worker that is killed between two statements, without a process to kill."""

from __future__ import annotations

from typing import Any


class KilledError(Exception):
    pass


class Kill:
    """Dies after so many statements of a call, as a killed worker does between two of them."""

    def __init__(self, *, after: int) -> None:
        self._left = after

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        # What ends a transaction must still work: a killed worker's is rolled back by the server.
        if "SAVEPOINT" in sql:
            return execute(sql, params, many, context)
        if self._left == 0:
            raise KilledError
        self._left -= 1
        return execute(sql, params, many, context)
