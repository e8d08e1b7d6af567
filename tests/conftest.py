"""The suite's own servers and the settings it runs with.

A throwaway PostgreSQL starts before Django reads its settings; `COURANT_TEST_DATABASE=sqlite` runs on
a SQLite file instead. With several processes (`-n 2`) the first one starts what is shared and the
others inherit it through the environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest
from django.conf import settings
from django.db import connection

from tests.services.blueprint import Blueprint
from tests.services.environment import ROOT, clean_environment
from tests.services.postgresql import Postgresql
from tests.services.processes import Service
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.sinks import SmtpSink
from tests.services.site import Site

S = TypeVar("S", bound=Service)
_numbers = itertools.count(1)
# The three ways to run Courant that every promise holds for.
SET_UPS = ("embedded", "rabbitmq", "redis")
_started: list[Postgresql] = []
_FOLDER = "COURANT_TEST_FOLDER"
# Processes of one run share the folder.
_PREFIX = os.environ.get("PYTEST_XDIST_WORKER", "main")
# The same examples each time, and no limit to what one takes: a busy machine finds no fault in the code.
hypothesis.settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")
# Fifty threads that write at once take turns on SQLite, in no order.
SQLITE_PATIENCE_SECONDS = 300


def pytest_configure(config: pytest.Config) -> None:
    # A worker of xdist has everything from its controller's environment.
    if not hasattr(config, "workerinput"):
        folder = os.environ[_FOLDER] = tempfile.mkdtemp(prefix="courant-tests-")
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
        database["OPTIONS"]["timeout"] = SQLITE_PATIENCE_SECONDS

    settings.PASSWORD_HASHERS = ["tests.quick_hasher.QuickHasher"]
    # Pages link to static files by their plain names: collecting them is a deployment's business.
    static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES["staticfiles"] = static
    # A folder with nothing in it: WhiteNoise reads it whole, and files beside it come and go.
    settings.STATIC_ROOT = str(Path(os.environ[_FOLDER]) / "static")
    Path(settings.STATIC_ROOT).mkdir(exist_ok=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    while _started:
        _started.pop().stop()
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)


def pytest_report_header() -> str:
    return f"database: {settings.DATABASES['default']['ENGINE'].rpartition('.')[2]}"


@contextlib.contextmanager
def _running(service: S) -> Iterator[S]:
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(autouse=True)
def _removable_audit_log(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty the audit log after a test that commits: on SQLite the flush deletes tables in any order."""
    marker = request.node.get_closest_marker("django_db")
    if connection.vendor != "sqlite" or marker is None or not marker.kwargs.get("transaction"):
        yield
        return
    # Set up before this one, so torn down after it.
    request.getfixturevalue("transactional_db")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'accounts_auditentry_no_delete'")
        guard = cursor.fetchone()[0]
        cursor.execute("DROP TRIGGER accounts_auditentry_no_delete")
        cursor.execute("DELETE FROM accounts_auditentry")
        cursor.execute(guard)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A second PostgreSQL that keeps its promises when it is killed."""
    with _running(Postgresql(durable=True)) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[Rabbitmq]:
    with _running(Rabbitmq()) as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with _running(RedisServer()) as server:
        yield server


@pytest.fixture(scope="session")
def _smtp_sink() -> Iterator[SmtpSink]:
    with _running(SmtpSink()) as server:
        yield server


@pytest.fixture
def smtp_sink(_smtp_sink: SmtpSink) -> SmtpSink:
    """The scripted sink, empty and with an empty script."""
    # What a test before this one left in flight would be written down late.
    _smtp_sink.restart()
    _smtp_sink.clear()
    return _smtp_sink


@pytest.fixture(scope="session")
def static_files() -> None:
    """What a deployment collects; pages of a site without DEBUG name these files by their hashes."""
    command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    with (Path(os.environ[_FOLDER]) / "static.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Once for all processes of a run.
        if not os.fstat(lock.fileno()).st_size:
            subprocess.run(command, cwd=ROOT, env=clean_environment(), check=True, timeout=600)
            lock.write("done")
            lock.flush()


@pytest.fixture(scope="session")
def blueprint() -> Blueprint:
    """The migrated databases that sites start as copies of."""
    return Blueprint(Path(os.environ[_FOLDER]))


@pytest.fixture
def make_site(
    request: pytest.FixtureRequest, smtp_sink: SmtpSink, static_files: None, blueprint: Blueprint
) -> Iterator[Callable[..., Site]]:
    """Return a maker of sites with a publisher and an API key: `make_site("redis", LOG_LEVEL="DEBUG")`."""
    made: list[Site] = []

    def make(set_up: str, **variables: str) -> Site:
        name = f"site_{next(_numbers)}"
        if set_up == "embedded":
            broker_url = "memory://"
            url, key = blueprint.copy_to_file(Path(os.environ[_FOLDER]) / f"{_PREFIX}-{name}.sqlite3")
        else:
            broker_url = request.getfixturevalue(set_up).url
            url, key = blueprint.copy_to_server(request.getfixturevalue("postgresql"), name)
        site = Site(database_url=url, broker_url=broker_url, email_url=smtp_sink.url, **variables)
        site.key = key
        made.append(site)
        return site

    yield make
    for site in made:
        site.stop()


@pytest.fixture(params=SET_UPS)
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    """A site on each of the three set-ups, with its web process and one worker running."""
    made = make_site(request.param)
    made.start_web()
    made.start_worker()
    return made
