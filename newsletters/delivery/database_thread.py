"""The one thread in which a courier's event loop talks to the database, apart from the ledger's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

import structlog
from django.db import connection

T = TypeVar("T")
Task = tuple[concurrent.futures.Future[Any], Callable[[], Any]]

log = structlog.get_logger(__name__)


class DatabaseThread:
    """Runs functions one after the other, each with a connection that is not known to be dead.

    A daemon: an executor's threads are awaited when the interpreter ends, and a database that has stopped answering
    would hold the process for ever.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="courier-database", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[], T]) -> T:
        """Return what `function` returns, or raise what it raises."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._tasks.put((future, function))
        return cast("T", await asyncio.wrap_future(future))

    def stop(self, *, seconds: float) -> None:
        """Finish what has been asked for and close the connection, or leave both after so long."""
        self._tasks.put(None)
        self._thread.join(timeout=seconds)
        if self._thread.is_alive():
            log.warning("database_did_not_answer")

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                found = function()
            except BaseException as error:  # noqa: BLE001  # whoever asked is told
                # The next call must not meet the same dead connection.
                connection.close()
                future.set_exception(error)
            else:
                future.set_result(found)
        connection.close()
