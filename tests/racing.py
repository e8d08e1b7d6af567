"""What happens when several do something at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


def at_once(*acts: Callable[[], T]) -> list[T]:
    """Run functions at the same moment, each in a thread with a connection of its own; return what each returned.

    Raises what one of them raised, once all have ended.
    """
    gate = threading.Barrier(len(acts))

    def run(act: Callable[[], T]) -> T:
        try:
            gate.wait(timeout=120)
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def raised_at_once(*acts: Callable[[], object], expected: type[E] | tuple[type[E], ...]) -> list[E]:
    """Run functions as `at_once` does; return the errors of these kinds that they raised."""

    def error_of(act: Callable[[], object]) -> E | None:
        try:
            act()
        except expected as error:
            return error
        return None

    found = at_once(*[lambda act=act: error_of(act) for act in acts])
    return [error for error in found if error is not None]
