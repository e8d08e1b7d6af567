"""One site and one browser for all tests of this folder: gunicorn, a worker, PostgreSQL, Redis and the sink."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.visitor import Visitor
from tests.services.postgresql import Postgresql
from tests.services.redis_server import RedisServer
from tests.services.sinks import SmtpSink
from tests.services.site import Site

# A browser in a container, which is to ask nobody for anything by itself.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium. It ends with the folder: while it runs, its event loop keeps Django's ORM from this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS, timeout=300_000)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def sink() -> Iterator[SmtpSink]:
    """Where the site's mails arrive, of all tests of this folder: each has addresses of its own."""
    server = SmtpSink()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="package")
def site(postgresql: Postgresql, redis: RedisServer, sink: SmtpSink, static_files: None) -> Iterator[Site]:
    """A site where anybody may sign up. Passkeys want a name for it, not a number."""
    url = postgresql.create_database("browser", template="template1")
    made = Site(database_url=url, broker_url=redis.url, email_url=sink.url, SIGN_UP="open")
    made.environment |= {"BASE_URL": f"http://localhost:{made.port}", "ALLOWED_HOSTS": "localhost,127.0.0.1"}
    try:
        made.set_up()
        made.start_web()
        made.start_worker()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="package")
def looked_at() -> set[tuple[str, bool]]:
    """The pages that somebody has looked at closely, and whether with scripts: once is enough."""
    return set()


@pytest.fixture
def visit(
    chromium: Browser, site: Site, sink: SmtpSink, looked_at: set[tuple[str, bool]]
) -> Iterator[Callable[..., Visitor]]:
    """Return a maker of visitors with a browser profile of their own: `visit(scripts=False)`."""
    made: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        made.append(Visitor(chromium, site=site, sink=sink, looked_at=looked_at, **options))
        return made[-1]

    yield make
    for visitor in made:
        visitor.leave()
