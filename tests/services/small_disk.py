"""A disk of limited size, which a test may fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.services.machine import MOUNTS, require
from tests.services.processes import wait_until

MEGABYTE = 1024 * 1024


class SmallDisk:
    """A tmpfs of so many megabytes on an existing folder, for the folder's owner. Skips the test where it cannot be."""

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        require(MOUNTS)
        self._folder = folder
        self._ballast = folder / "ballast"
        owner = folder.stat()
        options = f"size={megabytes}m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
        assert self._run("mount", "-t", "tmpfs", "-o", options, "courant-tests", str(folder)) == 0

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (MEGABYTE, 4096):
                try:
                    while True:
                        ballast.write(os.urandom(1) * size)
                except OSError:
                    continue

    def free(self) -> None:
        """Give back what `fill` has taken."""
        self._ballast.unlink(missing_ok=True)

    @property
    def free_bytes(self) -> int:
        return shutil.disk_usage(self._folder).free

    def unmount(self) -> None:
        """Take the disk away as soon as nobody uses it; a server's processes may outlive it for a moment."""
        wait_until(lambda: self._run("umount", str(self._folder)) == 0, "nobody uses the disk", seconds=120, pause=0.2)

    @staticmethod
    def _run(*command: str) -> int:
        return subprocess.run(command, check=False, timeout=120, capture_output=True).returncode
