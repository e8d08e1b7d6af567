"""Read by every Python that runs under `FakeClock`.

libfaketime 0.9.10 hands `clock_nanosleep` a negative time when the monotonic clock is left alone, and since 3.11
Python's `time.sleep` calls that (wolfcw/libfaketime#426).
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: SupportsIndex | float) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep
