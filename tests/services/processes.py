"""Start the programs that tests need, watch them and stop them by their recorded process ids."""

from __future__ import annotations

import abc
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

# Below 32768: a client that retries against a stopped server could take a higher port as its own.
PORTS = range(20_000, 32_000)
# Each process of pytest-xdist takes its ports from a part of its own.
PARTS = 12
_given: set[int] = set()


class ServiceError(Exception):
    """A program did not start, or ended when it should not."""


def free_port() -> int:
    """Return a TCP port on which nobody listens, and which this process has not been given before.

    A port that was given and is not listened on now may be one that a stopped server will come back to.
    """
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    ports = PORTS[number % PARTS :: PARTS]
    for port in random.SystemRandom().sample(ports, len(ports)):
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise ServiceError(f"no free port between {PORTS.start} and {PORTS.stop}")


def wait_until(done: Callable[[], bool], what: str, *, seconds: float, pause: float = 0.02) -> None:
    """Return as soon as `done()` is true; raise ServiceError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise ServiceError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(pause)


def answers(port: int) -> bool:
    """Say whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_program(name: str, package: str, *folders: str) -> str:
    """Return the path of a program; raise ServiceError naming the Debian package that has it."""
    path = shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))
    if path is None:
        raise ServiceError(f"{name} is not installed; `apt-get install {package}` brings it")
    return path


class Program:
    """One running program in a process group of its own, its output in a file.

    The kernel kills it when the test run dies, however that happens.
    """

    def __init__(self, command: Sequence[str], *, log: Path, environment: Mapping[str, str], user: str = "") -> None:
        guard = ["setpriv", "--pdeathsig", "KILL"]
        if user:
            guard += ["--reuid", user, "--regid", user, "--clear-groups"]
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*guard, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=log.parent if user else None,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Signal the program alone."""
        self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        """Signal the program and all that it started, as a platform does."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return

    def members(self) -> list[int]:
        """Return the process ids of those of the group that live, the program among them."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, _parent, group, *_rest = stat.read_text().rpartition(")")[2].split()
                if int(group) == self.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    def wait(self, seconds: float) -> int:
        """Return the exit code; raise ServiceError when the program still runs after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(f"{self} still runs after {seconds:g} s\n{self.tail()}") from error

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 20) -> None:
        """Ask the program to end, then kill what is left of its group."""
        if self.is_running:
            self.send(number)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        self.send_group(signal.SIGKILL)

    def kill(self) -> None:
        """Kill the whole group at once."""
        self.send_group(signal.SIGKILL)
        self._process.wait(60)

    def wait_ready(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return when `ready()` is true; raise ServiceError with the log when the program ends or hangs."""
        deadline = time.monotonic() + seconds
        while self.is_running and not ready():
            if time.monotonic() > deadline:
                raise ServiceError(f"{self} is not ready after {seconds:g} s\n{self.tail()}")
            time.sleep(0.02)
        # Somebody else may have answered in its stead.
        if not self.is_running:
            raise ServiceError(f"{self} ended with {self.exit_code}\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        """Return the end of what the program wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __str__(self) -> str:
        return f"{self.log.stem} (pid {self.pid})"


class Service(abc.ABC):
    """A throwaway server: its own folder and port, on loopback only."""

    name = "service"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"courant-{self.name}-"))
        self.port = free_port()
        self.program: Program | None = None

    @property
    def running(self) -> Program:
        if self.program is None:
            raise ServiceError(f"{self.name} was not started")
        return self.program

    @abc.abstractmethod
    def start(self) -> None:
        """Start the server and wait until it answers."""

    def kill(self) -> None:
        """Kill the server with no chance to save anything."""
        self.running.kill()
        # The program may have left its children to the kernel, which takes a moment.
        wait_until(lambda: not answers(self.port), f"{self.name} is gone", seconds=60)

    def restart(self) -> None:
        """Kill the server and start it again with what it had on disk."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """End the server and remove its folder."""
        if self.program is not None:
            self.program.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
