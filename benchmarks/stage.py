"""The servers of one run, started when a part first needs them."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.figures import Figures
from benchmarks.installation import Installation, Row
from benchmarks.mail import Mail
from benchmarks.options import Options
from benchmarks.servers import MeasuredPostgresql, PlainSink, SlowSink, running
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.site import Site

BLUEPRINT = "blueprint"
SLOW_SECONDS = 0.02
THOUSAND = 1_000
# Empty is the product's own default; tests shorten these.
DEFAULTS = ("DELIVERY_LEASE_SECONDS", "DELIVERY_SLICE_SECONDS", "RETRY_SCALE_PERCENT", "LOG_LEVEL")


class Stage:
    """What the parts of a run share. Everything ends with the stack."""

    def __init__(self, options: Options, figures: Figures, stack: ExitStack) -> None:
        self.options = options
        self.figures = figures
        self._stack = stack
        self._databases: dict[str, str] = {}
        self._installations: dict[tuple[str, str, str], Installation] = {}
        # One for all installations, since several of them look at the same database.
        self._secret_key = secrets.token_urlsafe(48)

    @functools.cached_property
    def postgresql(self) -> MeasuredPostgresql:
        server = self._stack.enter_context(running(MeasuredPostgresql()))
        self.figures.remark(server.facts())
        return server

    @functools.cached_property
    def rabbitmq(self) -> Rabbitmq:
        return self._stack.enter_context(running(Rabbitmq()))

    @functools.cached_property
    def redis(self) -> RedisServer:
        return self._stack.enter_context(running(RedisServer()))

    @functools.cached_property
    def sink(self) -> PlainSink:
        return self._stack.enter_context(running(PlainSink()))

    @functools.cached_property
    def slow_sink(self) -> SlowSink:
        return self._stack.enter_context(running(SlowSink(delay=SLOW_SECONDS)))

    @functools.cached_property
    def readers(self) -> Row:
        """The newsletter of (c) and (d)."""
        return self.installation("readers", broker=self.rabbitmq).newsletter(
            self.options.readers, uneven=self.options.uneven
        )

    @functools.cached_property
    def slow_readers(self) -> Row:
        return self.installation("readers", broker=self.rabbitmq).newsletter(self.options.slow_readers)

    @functools.cached_property
    def million(self) -> Row:
        return self.installation("million", broker=self.rabbitmq).newsletter(self.options.many_readers)

    @functools.cached_property
    def thousand(self) -> Row:
        """A small newsletter beside the large one."""
        return self.installation("million", broker=self.rabbitmq).newsletter(THOUSAND)

    @functools.cached_property
    def mail(self) -> Mail:
        facts: Any = self.installation("readers", broker=self.rabbitmq).mail_facts(self.readers)
        self.figures.remark(
            f"Workers: {facts['processes']} processes of {facts['threads']} threads and {facts['lanes']} lanes. "
            f"Mails: {facts['bytes']:,.0f} bytes on average."
        )
        return Mail(
            size=facts["bytes"],
            sample=facts["sample"].encode("ascii"),
            sender=facts["sender"],
            address=facts["address"],
            name=facts["name"],
            connections=facts["processes"] * facts["lanes"],
        )

    def installation(
        self, database: str, *, broker: Rabbitmq | RedisServer, email_url: str = "", **variables: str
    ) -> Installation:
        """Return Courant on a database of its own or of an earlier installation, its web process running."""
        email_url = email_url or self.sink.url
        name = (database, broker.url, email_url)
        if name not in self._installations:
            self._installations[name] = self._install(self._stack, database, broker, email_url, **variables)
        return self._installations[name]

    @contextlib.contextmanager
    def own_installation(
        self, database: str, *, broker: Rabbitmq | RedisServer, email_url: str = "", **variables: str
    ) -> Iterator[Installation]:
        """Give an installation that goes, with its database, when the block ends."""
        try:
            with ExitStack() as stack:
                yield self._install(stack, database, broker, email_url or self.sink.url, **variables)
        finally:
            if self._databases.pop(database, ""):
                self.postgresql.drop_database(database)

    def _install(
        self, stack: ExitStack, database: str, broker: Rabbitmq | RedisServer, email_url: str, **variables: str
    ) -> Installation:
        site = self._site(self._database(database), broker.url, email_url, **variables)
        stack.callback(site.stop)
        site.key = self._api_key
        site.start_web()
        connection = stack.enter_context(self.postgresql.connect(database))
        return Installation(site, connection, {"PostgreSQL": self.postgresql.running.pid, "broker": broker.running.pid})

    def _site(self, database_url: str, broker_url: str, email_url: str, **variables: str) -> Site:
        return Site(
            database_url=database_url,
            broker_url=broker_url,
            email_url=email_url,
            SECRET_KEY=self._secret_key,
            # gunicorn reads this one itself, and takes no empty value: the default of config/gunicorn.py.
            WEB_CONCURRENCY="2",
            **dict.fromkeys(DEFAULTS, ""),
            **{
                "WORKER_PROCESSES": self.options.processes,
                "DELIVERY_LANES": self.options.lanes,
                "DESTINATION_PACING": self.options.pacing,
                **variables,
            },
        )

    @functools.cached_property
    def _api_key(self) -> str:
        """The key of the migrated database that all others begin as copies of."""
        site = self._site(self.postgresql.create_database(BLUEPRINT), "memory://", "smtp://127.0.0.1:25")
        try:
            site.set_up()
        finally:
            site.stop()
        return site.key

    def _database(self, name: str) -> str:
        if name not in self._databases:
            assert self._api_key
            self._databases[name] = self.postgresql.create_database(name, template=BLUEPRINT)
        return self._databases[name]


def describe_machine() -> str:
    """Return what the figures depend on, as one line."""
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return f"{len(os.sched_getaffinity(0))} cores, {model}, Linux {os.uname().release}"
