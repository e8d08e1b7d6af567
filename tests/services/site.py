"""One installation of Courant as real processes: `manage.py` commands, gunicorn and workers."""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.services.environment import ROOT, clean_environment
from tests.services.processes import Program, ServiceError, answers, free_port, wait_until

# Waiting is shortened, never left out: a lease lasts 3 s, a turn 2 s, the retry schedule a hundredth.
HURRIED = {"DELIVERY_LEASE_SECONDS": "3", "DELIVERY_SLICE_SECONDS": "2", "RETRY_SCALE_PERCENT": "1"}


class Supervisor:
    """Keeps one program running, as a platform does: it is started again whenever it ends."""

    def __init__(self, command: list[str], *, log: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._log = log
        self._environment = environment
        self._lock = threading.Lock()
        self._wanted = True
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"supervisor of {log.stem}", daemon=True)
        self.restarts = 0
        self.program = self._start()
        self._thread.start()

    def _start(self) -> Program:
        return Program(self._command, log=self._log, environment=self._environment)

    def _keep(self) -> None:
        # The kernel ends a program with the thread that started it: this one outlives them all.
        while not self._stopped.wait(0.05):
            with self._lock:
                if self._wanted and not self.program.is_running:
                    # What is left of a master that died would work on beside the new one.
                    self.program.send_group(signal.SIGKILL)
                    self.program = self._start()
                    self.restarts += 1

    def kill(self) -> None:
        """Kill the whole process group; it starts again at once."""
        self.program.send_group(signal.SIGKILL)

    def kill_alone(self) -> None:
        """Kill the program but none that it started, and start it no more."""
        with self._lock:
            self._wanted = False
        self.program.send(signal.SIGKILL)

    def stop(self, *, seconds: float = 120) -> int | None:
        """End the program for good, gracefully, and return its exit code."""
        with self._lock:
            self._wanted = False
        # A platform signals every process of the group.
        self.program.send_group(signal.SIGTERM)
        self.program.stop(seconds=seconds)
        self._stopped.set()
        return self.program.exit_code

    def end(self) -> None:
        """Kill the program for good."""
        with self._lock:
            self._wanted = False
        self.program.kill()
        self._stopped.set()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """A database, a broker, a relay, and the processes that work with them.

    The database must exist. `variables` adds to the environment of every process.
    """

    def __init__(self, *, database_url: str, broker_url: str, email_url: str, **variables: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="courant-site-"))
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.key = ""
        self.workers: list[Supervisor] = []
        self._web: Program | None = None
        own = {"DATABASE_URL": database_url, "BROKER_URL": broker_url, "EMAIL_URL": email_url}
        self.environment = (
            clean_environment()
            | {"SECRET_KEY": secrets.token_urlsafe(48), "BASE_URL": self.address, "PORT": str(self.port)}
            | {"WEB_CONCURRENCY": "1", "LOG_LEVEL": "INFO", "VERIFIED_SENDER_DOMAINS": "gazette.example"}
            | {"WORKER_PROCESSES": "1", "HOME": str(self.folder)}
            | {"RESTORE_GUARD_STORE": str(self.folder / "restore-guard.json")}
            | HURRIED
            | own
            | variables
        )

    def manage(self, *arguments: str) -> str:
        """Run a `manage.py` command and return what it printed; raise ServiceError when it fails."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            raise ServiceError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def set_up(self) -> None:
        """Migrate, make a publisher and keep an API key that may do everything."""
        self.manage("migrate", "--verbosity", "0")
        publisher = self.manage("create_publisher", "--name", "The Gazette").strip()
        self.key = self.manage("create_api_key", "--publisher", publisher, "--name", "test", "--scopes", "all").strip()

    def start_web(self, **variables: str) -> None:
        """Start gunicorn as the Procfile does and wait until it answers; `variables` are for it alone."""
        command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--chdir", str(ROOT)]
        self._web = Program(command, log=self.folder / "web.log", environment=self.environment | variables)
        self._web.wait_ready(lambda: answers(self.port), seconds=180)

    def kill_web(self) -> None:
        """Kill gunicorn and its processes at once."""
        if self._web is not None:
            self._web.kill()
            # Its children hold the socket for a moment longer.
            wait_until(lambda: not answers(self.port), "the port is free", seconds=60)

    def start_worker(self, *, within: Sequence[str] = (), **variables: str) -> Supervisor:
        """Start one more supervised `manage.py worker`, by way of a command; `variables` adds to its environment."""
        log = self.folder / f"worker-{len(self.workers) + 1}.log"
        command = [*within, sys.executable, str(ROOT / "manage.py"), "worker"]
        worker = Supervisor(command, log=log, environment=self.environment | variables)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """Kill every process and forget the folder."""
        for worker in self.workers:
            worker.end()
        if self._web is not None:
            self._web.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self) -> str:
        """Return the end of each process's output, for the message of a failed test."""
        parts = []
        for path in sorted(self.folder.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-30:]
            parts.append("\n".join([f"--- {path.name}", *lines]))
        return "\n".join(parts)

    def call(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """Make one API request, such as `call("POST", "/newsletters", {…})`; bytes are sent as they are."""
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"} | dict(headers or {})
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return self.fetch(f"{self.address}/api/v1{path}", method=method, data=data, headers=sent)

    def ask(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Make one API request that must succeed and return its JSON."""
        answer = self.call(method, path, body, headers=headers)
        if answer.status >= 400:
            raise ServiceError(f"{method} {path}: {answer.status} {answer.body.decode()}\n{self.logs()}")
        return answer.json if answer.body else None

    def every(self, path: str) -> list[Any]:
        """Return all items of a list, page by page."""
        found: list[Any] = []
        joiner = "&" if "?" in path else "?"
        page = self.ask("GET", f"{path}{joiner}limit=100")
        found += page["items"]
        while page["next"]:
            page = self.ask("GET", f"{path}{joiner}limit=100&cursor={page['next']}")
            found += page["items"]
        return found

    def send_issue(self, issue_id: str) -> Answer:
        """Send an issue under an idempotency key of its own."""
        return self.call("POST", f"/issues/{issue_id}/send", headers={"Idempotency-Key": secrets.token_hex(16)})

    def wait_for_issue(self, issue_id: str, state: str, *, seconds: float) -> Any:
        """Return the issue's progress once it is in a state; raise ServiceError with the logs if it never is."""
        seen: dict[str, Any] = {}

        def arrived() -> bool:
            seen.update(self.ask("GET", f"/issues/{issue_id}/progress"))
            return bool(seen["state"] == state)

        try:
            wait_until(arrived, f"the issue is {state}", seconds=seconds, pause=0.1)
        except ServiceError as error:
            raise ServiceError(f"{error}; it is {seen}\n{self.logs()}") from error
        return seen

    @staticmethod
    def fetch(
        url: str, *, method: str = "GET", data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Make one HTTP request; an error status is an answer like any other."""
        request = urllib.request.Request(url, data=data, method=method, headers=dict(headers or {}))  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=180) as response:  # noqa: S310  # our own loopback server
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())
