from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.stage import SETTINGS, Stage
from tests.services.postgresql import Postgresql
from tests.services.sinks import SmtpSink
from tests.services.site import Site

# Nobody limits a superuser's connections. What the superuser has made belongs to this role as well.
ORDINARY_ROLE = """
DO $$ BEGIN
    CREATE ROLE gazette LOGIN IN ROLE courant;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$
"""
BROKERS = ("rabbitmq", "redis")


@pytest.fixture(params=BROKERS)
def broker_name(request: pytest.FixtureRequest) -> str:
    """Every scenario holds with either broker."""
    return str(request.param)


@pytest.fixture
def make_stage(
    request: pytest.FixtureRequest,
    make_site: Callable[..., Site],
    broker_name: str,
    postgresql: Postgresql,
    smtp_sink: SmtpSink,
) -> Callable[..., Stage]:
    """Return a maker of running stages: `make_stage(readers=600, workers=2, DELIVERY_LANES="4")`."""

    def make(*, readers: int = 0, workers: int = 2, **variables: str) -> Stage:
        broker: Any = request.getfixturevalue(broker_name)
        site = make_site(broker_name, **SETTINGS | variables)
        with postgresql.connect() as connection:
            connection.execute(ORDINARY_ROLE)
        site.environment["DATABASE_URL"] = site.environment["DATABASE_URL"].replace("courant@", "gazette@")
        stage = Stage(site, sink=smtp_sink, database=postgresql, broker=broker, workers=workers)
        if readers:
            stage.prepare(readers)
        return stage

    return make
