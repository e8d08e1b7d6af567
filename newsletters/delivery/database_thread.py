"""The one thread in which a courier's event loop talks to the database, apart from the ledger's."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from typing import TypeVar

from django.db import connection

T = TypeVar("T")


class DatabaseThread:
    """Runs functions one after the other, each with a connection that is not known to be dead."""

    def __init__(self) -> None:
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="courier-database")

    async def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _with_fresh_connection, function)

    def stop(self) -> None:
        """Finish what has been asked for, then close the connection."""
        # `connection` is another object in each thread: its `close` must be looked up there.
        self._executor.submit(_close_connection)
        self._executor.shutdown(wait=True)


def _with_fresh_connection(function: Callable[[], T]) -> T:
    try:
        return function()
    except Exception:
        # The next call must not meet the same dead connection.
        connection.close()
        raise


def _close_connection() -> None:
    connection.close()
