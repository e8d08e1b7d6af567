"""The thread in which a courier asks the database, when the database does not answer."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from newsletters.delivery.database_thread import DatabaseThread

STUCK = """
import asyncio, threading, django
from django.conf import settings
settings.configure()
from newsletters.delivery.database_thread import DatabaseThread
thread = DatabaseThread()
async def main():
    asked = asyncio.ensure_future(thread.run(threading.Event().wait))
    await asyncio.sleep(0.1)
    asked.cancel()
asyncio.run(main())
thread.stop(seconds=0.1)
"""


def test_a_database_that_never_answers_does_not_keep_the_process() -> None:
    assert subprocess.run([sys.executable, "-c", STUCK], check=False, timeout=120).returncode == 0


def test_what_a_function_returns_or_raises_comes_back_in_order() -> None:
    async def main() -> list[int]:
        thread = DatabaseThread()
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 // 0)
        found = [await thread.run(lambda number=number: number) for number in range(3)]  # type: ignore[misc]
        thread.stop(seconds=5)
        return found

    assert asyncio.run(main()) == [0, 1, 2]
