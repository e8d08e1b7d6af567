"""A throwaway PostgreSQL server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from tests.services.processes import Program, Service, ServiceError, find_program, wait_until

# Tests that kill the server keep its promises on; all others need none of them.
CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
IN_USE = "pre-existing shared memory block"
SETTINGS = {"max_connections": "200", "shared_buffers": "128MB", "autovacuum_naptime": "5s"}


def _state_and_parent(number: int) -> tuple[str, int]:
    """Return a process's state, as ps shows it, and who started it; no state when it is gone."""
    try:
        state, parent, *_rest = Path("/proc", str(number), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return state, int(parent)


class Postgresql(Service):
    """One cluster with the superuser `courant`, who needs no password.

    `initdb` refuses root, so root runs it as the system's user `postgres`. `variables` adds to its environment.
    `data` is its data directory, which may be an empty file system mounted before the first start.
    """

    name = "postgresql"

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self._settings = SETTINGS if durable else SETTINGS | CARELESS
        self._user = "postgres" if os.geteuid() == 0 else ""
        self.data = self.folder / "data"
        self.variables: dict[str, str] = {}
        self.give(self.folder)

    def url(self, database: str) -> str:
        """Return the DATABASE_URL of a database."""
        return f"postgres://courant@127.0.0.1:{self.port}/{database}"

    def give(self, folder: Path) -> None:
        """Let the server's user own a folder."""
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(folder, account.pw_uid, account.pw_gid)

    def start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        # A killed postmaster leaves its lock file, whose pid somebody else may have by now.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        command = [self._binary("postgres"), "-D", str(self.data), "-p", str(self.port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}"]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        wait_until(lambda: self._starts(command), "the old server's processes are gone", seconds=180)

    def kill(self) -> None:
        """Kill the postmaster and every process that it has started, and return when none of them is left.

        They leave its process group. Those of a postmaster that was killed alone work on for a moment.
        """
        if self.running.is_running:
            # It starts no more of them, and leaves none behind unseen.
            self.running.send(signal.SIGSTOP)
            wait_until(lambda: _state_and_parent(self.running.pid)[0] == "T", "the postmaster has stopped", seconds=60)
            started = [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._has_started(int(path.name))]
            for number in (self.running.pid, *started):
                os.kill(number, signal.SIGKILL)
            gone = {"", "Z"}
            wait_until(lambda: {_state_and_parent(number)[0] for number in started} <= gone, "all are gone", seconds=60)
        super().kill()

    def _has_started(self, number: int) -> bool:
        return _state_and_parent(number)[1] == self.running.pid

    def stop(self) -> None:
        if self.program is not None:
            self.program.stop(signal.SIGINT, seconds=120)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a copy of a database, by default of an empty one, and return its URL."""
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self.connect() as connection:
            # One that could not be made ready is there still, and would fail every test after it.
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(statement)
            # The copy of a sequence believes that its next numbers are in the log already, which they are only for
            # the template: a crash would hand them out twice. After a checkpoint it writes them down again.
            connection.execute("CHECKPOINT")
        return self.url(name)

    def dump(self, name: str, path: Path) -> None:
        """Write a database to a file of SQL."""
        command = [self._binary("pg_dump"), "--dbname", self.url(name), "--file", str(path)]
        subprocess.run(command, check=True, timeout=600)

    def load(self, name: str, path: Path) -> None:
        """Make a database from a file of SQL."""
        self.create_database(name)
        command = [self._binary("psql"), "--dbname", self.url(name), "--file", str(path), "--no-psqlrc", "--quiet"]
        command += ["--single-transaction", "--set", "ON_ERROR_STOP=1", "--output", os.devnull]
        subprocess.run(command, check=True, timeout=600)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="courant", dbname=database, autocommit=True, connect_timeout=60
        )

    def _starts(self, command: list[str]) -> bool:
        """Say whether the server came up; backends that outlive a killed postmaster forbid it for a moment."""
        self.program = self._run(command)
        try:
            self.program.wait_ready(self._accepts, seconds=180)
        except ServiceError as error:
            if IN_USE not in str(error):
                raise
            return False
        return True

    def _accepts(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_cluster(self) -> None:
        command = [self._binary("initdb"), "-D", str(self.data), "-U", "courant", "--auth=trust", "--no-sync"]
        making = self._run([*command, "--encoding=UTF8", "--locale=C.UTF-8"])
        if making.wait(300):
            raise ServiceError(f"initdb failed\n{making.tail()}")

    def _run(self, command: list[str]) -> Program:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        # Only for the server itself: what they do must not begin while the user is another.
        own = ["env", *(f"{name}={value}" for name, value in self.variables.items())]
        return Program([*own, *command], log=self.folder / "postgresql.log", environment=environment, user=self._user)

    @staticmethod
    def _binary(name: str) -> str:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
        return find_program(name, "postgresql", *map(str, folders))
