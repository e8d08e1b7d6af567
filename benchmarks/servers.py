"""The servers that only benchmarks need."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from psycopg import sql

from tests.services.postgresql import Postgresql
from tests.services.processes import Program, Service, answers, find_program

S = TypeVar("S", bound=Service)
SINK_BACKLOG = "1024"


class MeasuredPostgresql(Postgresql):
    """A server with default durability that can count statements; it does so only when told to."""

    def __init__(self) -> None:
        super().__init__(durable=True)
        self._settings = self._settings | {"shared_preload_libraries": "pg_stat_statements"}

    def start(self) -> None:
        super().start()
        # Not on the command line, which would outrank what `database_cost.count_statements` says later.
        with self.connect() as connection:
            connection.execute("ALTER SYSTEM SET pg_stat_statements.track = 'none'")
            connection.execute("SELECT pg_reload_conf()")

    def drop_database(self, name: str) -> None:
        """Remove a database, ending whoever still uses it."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def facts(self) -> str:
        """Return the settings that decide about speed, as one line."""
        names = ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size"]
        with self.connect() as connection:
            values = {name: connection.execute(f"SHOW {name}").fetchone() for name in [*names, "server_version"]}
        shown = [f"{name} {value[0]}" for name, value in values.items() if value and name in names]
        version = values["server_version"]
        return f"PostgreSQL {version[0].split()[0] if version else '?'}: {', '.join(shown)}"


class PlainSink(Service):
    """Postfix's smtp-sink that throws every mail away: the fastest taker there is.

    With `quit_after`, the process ends with that mail, which tells when it came at no cost.
    """

    name = "plain-sink"

    def __init__(self, *, quit_after: int = 0) -> None:
        super().__init__()
        self._quit_after = quit_after

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [find_program("smtp-sink", "postfix"), *(["-u", "nobody"] if os.geteuid() == 0 else [])]
        command += ["-M", str(self._quit_after)] if self._quit_after else []
        command += [f"127.0.0.1:{self.port}", SINK_BACKLOG]
        self.program = Program(command, log=self.folder / "sink.log", environment=os.environ)
        self.program.wait_ready(lambda: answers(self.port), seconds=20)


class SlowSink(Service):
    """A server that answers each command after a delay: `benchmarks/slow_sink.py`."""

    name = "slow-sink"

    def __init__(self, *, delay: float, tarpit: str = "", tarpit_delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self._tarpit = [tarpit, str(tarpit_delay)]

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = Path(__file__).with_name("slow_sink.py")
        command = [sys.executable, str(program), str(self.port), str(self.delay), *self._tarpit]
        self.program = Program(command, log=self.folder / "sink.log", environment=os.environ)
        self.program.wait_ready(lambda: answers(self.port), seconds=20)


@contextlib.contextmanager
def running(service: S) -> Iterator[S]:
    """Start a server and end it afterwards, whatever happens."""
    try:
        service.start()
        yield service
    finally:
        service.stop()
