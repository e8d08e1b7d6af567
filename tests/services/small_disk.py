"""A disk of limited size, which a test may fill."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.services.machine import MOUNTS, require

MEGABYTE = 1024 * 1024


class SmallDisk:
    """A tmpfs of so many megabytes on an existing folder, for the folder's owner. Skips the test where it cannot be."""

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        require(MOUNTS)
        self._folder = folder
        self._ballast = folder / "ballast"
        owner = folder.stat()
        options = f"size={megabytes}m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
        self._run("mount", "-t", "tmpfs", "-o", options, "courant-tests", str(folder))

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
        self._run("umount", str(self._folder))

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, timeout=30, capture_output=True)
