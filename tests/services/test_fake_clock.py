from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services.fake_clock import DAY, FakeClock

# Prints how far ahead its clock is, and how long it thinks that half a second lasted, before and after a leap.
PROGRAM = """
import sys, time
for line in sys.stdin:
    began = time.monotonic()
    time.sleep(0.5)
    print(time.time(), time.monotonic() - began, flush=True)
"""


@pytest.fixture
def clock(tmp_path: Path) -> FakeClock:
    return FakeClock(tmp_path / "clock", ahead=DAY)


def test_a_program_has_another_time_of_day_that_may_leap_while_it_runs(clock: FakeClock) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        for ahead in (DAY, -DAY, 70):
            clock.leap(ahead)
            program.stdin.write("\n")
            told, lasted = map(float, program.stdout.readline().split())
            assert abs(told - time.time() - ahead) < 60
            assert 0.4 < lasted < 30
        program.stdin.close()


def test_what_killed_programs_leave_in_shared_memory_is_removed(clock: FakeClock) -> None:
    killed = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    with subprocess.Popen(killed, env=os.environ | clock.environment) as program:
        # Dead, but not buried yet: other tests clean up as well, and leave alone whom they find in /proc.
        os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
        assert list(Path("/dev/shm").glob(f"*faketime*_{program.pid}"))  # noqa: S108
    FakeClock.clean_up()
    assert not list(Path("/dev/shm").glob(f"*faketime*_{program.pid}"))  # noqa: S108
