"""The suite's own servers and the settings it runs with.

A throwaway PostgreSQL starts before Django reads its settings; `COURANT_TEST_DATABASE=sqlite` runs on
a SQLite file instead. With several processes (`-n 2`) the first one starts what is shared and the
others inherit it through the environment.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from django.conf import settings

from tests.services.environment import clean_environment
from tests.services.postgresql import Postgresql

_started: list[Postgresql] = []
_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    # A worker of xdist has everything from its controller's environment.
    if not hasattr(config, "workerinput"):
        folder = config.stash[_folder] = Path(tempfile.mkdtemp(prefix="courant-tests-"))
        os.environ.update(clean_environment())
        if os.environ.get("COURANT_TEST_DATABASE", "postgresql") == "sqlite":
            os.environ["DATABASE_URL"] = f"sqlite:///{folder}/courant.sqlite3"
        else:
            server = Postgresql()
            _started.append(server)
            server.start()
            os.environ["DATABASE_URL"] = server.url("postgres")
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        # In memory, connections of several threads would not see one another's transactions as a file's do.
        database.setdefault("TEST", {})["NAME"] = f"{database['NAME']}.test"


def pytest_unconfigure(config: pytest.Config) -> None:
    while _started:
        _started.pop().stop()
    if _folder in config.stash:
        shutil.rmtree(config.stash[_folder], ignore_errors=True)


def pytest_report_header() -> str:
    return f"database: {settings.DATABASES['default']['ENGINE'].rpartition('.')[2]}"
