"""The processes that the demonstration starts, watches and stops, each by its own number."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 120
STOP_SECONDS = 25
LOG_TAIL_BYTES = 2000


class ChildEndedError(Exception):
    """A process ended that should have gone on."""


@dataclass
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass
class Children:
    """A context whose end stops everything in it, the last one started first.

    Each child has its own session, so a Ctrl-C in the terminal reaches the parent alone, which
    stops them in order: the worker finishes its mails while the catcher still takes them.
    """

    folder: Path
    environment: Mapping[str, str]
    running: list[Child] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave a process behind.
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)
        while self.running:
            _stop(self.running.pop())

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start this Python with some arguments; its output goes to `<name>.log`."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  # our own programs with our own arguments
                [sys.executable, *arguments],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(Child(name, process, log))

    def check(self) -> None:
        """Raise ChildEndedError, with the end of its log, if any child has ended."""
        for child in self.running:
            if child.process.poll() is not None:
                tail = child.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
                raise ChildEndedError(f"The {child.name} ended with code {child.process.returncode}.\n{tail}")

    def wait_for_port(self, port: int) -> None:
        """Return once something listens on a loopback port. Raises ChildEndedError if it never does."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise ChildEndedError(f"Nothing listens on port {port} after {START_SECONDS} s.")


def _stop(child: Child) -> None:
    if child.process.poll() is None:
        child.process.terminate()
    try:
        child.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()
