"""How much work something is, whatever else the machine and the other threads of the tests do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMES = 5


def least_effort(act: Callable[[], object]) -> float:
    """Return the seconds of processor time of this thread that `act` takes, the least of several times.

    Collecting the rubbish of thousands of tests, or a neighbour in the processor's caches, may fall into one of them.
    """
    found = []
    for _ in range(TIMES):
        began = time.thread_time()
        act()
        found.append(time.thread_time() - began)
    return min(found)
