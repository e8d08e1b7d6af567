"""Another time of day for one program and all that it starts, by Debian's libfaketime."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.services.processes import find_program

DAY = 86_400
_SHARED = re.compile(r"(?:sem\.)?faketime_(?:sem|shm)_(\d+)")


class FakeClock:
    """A wall clock that is so many seconds ahead of the machine's, or behind; it may leap while programs run.

    `path` is where it keeps its reading; its folder must be writable. The monotonic clock stays as it is, as in a
    machine whose time of day somebody sets.
    """

    def __init__(self, path: Path, *, ahead: int = 0) -> None:
        self._path = path
        self._library = self._find()
        self.leap(ahead)

    def leap(self, ahead: int) -> None:
        """Be so many seconds ahead from now on."""
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{ahead:+d}\n")
        fresh.chmod(0o644)
        fresh.replace(self._path)

    @property
    def environment(self) -> dict[str, str]:
        """What a program's environment needs to have this clock."""
        return {
            "LD_PRELOAD": self._library,
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
            "PYTHONPATH": str(Path(__file__).with_name("preloaded")),
        }

    @staticmethod
    def clean_up() -> None:
        """Remove what killed programs have left in shared memory."""
        for path in Path("/dev/shm").iterdir():  # noqa: S108
            found = _SHARED.fullmatch(path.name)
            if found and not Path("/proc", found[1]).exists():
                path.unlink(missing_ok=True)

    @staticmethod
    def _find() -> str:
        # The path differs from one architecture to the next; the wrapper knows it.
        command = [find_program("faketime", "faketime"), "-m", "-f", "+0", "printenv", "LD_PRELOAD"]
        return subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True).stdout.strip()
