"""Processor time and memory of process trees, from /proc."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.services.processes import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
# Fields of /proc/PID/stat, counted from the one after the name (proc(5)): the parent, then user and system
# time of the process and of its children that have ended.
PARENT, TIMES = 1, slice(11, 15)
QUIET_SHARE = 0.1
QUIET_SECONDS = 0.5


def tree(root: int) -> set[int]:
    """Return a process and all that descend from it."""
    children = defaultdict(list)
    for pid, fields in _every_process():
        children[int(fields[PARENT])].append(pid)
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting += children[pid]
    return found


def seconds(root: int) -> float:
    """Return the processor time that a process tree has used, children that have ended included."""
    members = tree(root)
    return sum(sum(map(int, fields[TIMES])) for pid, fields in _every_process() if pid in members) / TICKS


def peak_memory_mb(root: int) -> float:
    """Return the highest resident memory, in MB of 10^6 bytes, that one process of the tree has had."""
    peaks = [0.0]
    for pid in tree(root):
        try:
            status = (PROC / str(pid) / "status").read_text()
        except OSError:
            continue
        if "VmHWM:" in status:
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6)
    return max(peaks)


def wait_until_quiet(root: int, *, limit: float = 60) -> None:
    """Return when a process tree has children and does next to nothing; raise ServiceError if that never comes."""

    def quiet() -> bool:
        before = seconds(root)
        time.sleep(QUIET_SECONDS)
        return seconds(root) - before < QUIET_SHARE * QUIET_SECONDS and len(tree(root)) > 1

    wait_until(quiet, f"process {root} is at rest", seconds=limit, pause=0)


class Stopwatch:
    """The processor time of named process trees since it was made."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        self._roots = roots
        self._before = self._now()

    def used(self) -> dict[str, float]:
        """Return seconds by name."""
        return {name: value - self._before[name] for name, value in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: seconds(root) for name, root in self._roots.items()}


def _every_process() -> Iterator[tuple[int, list[str]]]:
    for path in PROC.iterdir():
        if path.name.isdigit():
            try:
                text = (path / "stat").read_text()
            except OSError:
                continue
            # The name stands in parentheses and may hold any character.
            yield int(path.name), text.rpartition(")")[2].split()
