"""A migrated database with a publisher and an API key that sites start as copies of, made once a run."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.services.postgresql import Postgresql
from tests.services.site import Site

NAME = "blueprint"


class Blueprint:
    """One for each kind of database. Processes of a run that name the same folder share them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Other servers of the run, each with a cluster of its own, have it from a file of SQL.
        self._has_it: set[Postgresql] = set()

    def copy_to_file(self, path: Path) -> tuple[str, str]:
        """Make a SQLite file; return its DATABASE_URL and the API key."""
        original = self._folder / f"{NAME}.sqlite3"
        key = self._once("sqlite", lambda: _set_up(f"sqlite:///{original}"))
        shutil.copy(original, path)
        return f"sqlite:///{path}", key

    def copy_to_server(self, server: Postgresql, name: str) -> tuple[str, str]:
        """Make a PostgreSQL database; return its DATABASE_URL and the API key."""
        dump = self._folder / f"{NAME}.sql"

        def make() -> str:
            key = _set_up(server.create_database(NAME))
            server.dump(NAME, dump)
            self._has_it.add(server)
            return key

        key = self._once("postgresql", make)
        if server not in self._has_it:
            server.load(NAME, dump)
            self._has_it.add(server)
        return server.create_database(name, template=NAME), key

    def _once(self, kind: str, make: Callable[[], str]) -> str:
        """Return the key that `make` returned to whichever process asked first."""
        with (self._folder / f"{NAME}-{kind}.key").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            key = file.read()
            if not key:
                key = make()
                file.write(key)
                file.flush()
            return key


def _set_up(url: str) -> str:
    """Migrate a database, make a publisher in it and return an API key."""
    site = Site(database_url=url, broker_url="memory://", email_url="smtp://127.0.0.1:9")
    try:
        site.set_up()
    finally:
        site.stop()
    return site.key
