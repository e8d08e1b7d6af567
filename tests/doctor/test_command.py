"""The command as a process, with everything at hand, and with one thing after the other gone."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.visit import examined, finding, visit
from tests.services.environment import clean_environment
from tests.services.postgresql import Postgresql
from tests.services.processes import free_port, wait_until
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.site import Site

# What a site in production would say differently from one of the suite.
IN_PRODUCTION = {
    "ALLOW_TEST_ADDRESSES": "0",
    "RETRY_SCALE_PERCENT": "",
    "SMTP_PATIENCE_PERCENT": "",
    "DELIVERY_LEASE_SECONDS": "",
    "BOUNCE_ADDRESS": "bounces@gazette.example",
}


@pytest.mark.parametrize("set_up", ["embedded", "rabbitmq", "redis"])
def test_a_site_in_order_ends_with_0_and_quietly_says_nothing(make_site: Callable[..., Site], set_up: str) -> None:
    site = make_site(set_up, **IN_PRODUCTION)
    site.start_worker()
    address = "http://127.0.0.1:1"

    def in_order() -> bool:
        done = visit(site.environment, "--quiet", BASE_URL=address)
        assert bool(done.returncode) == bool(done.stdout)
        return done.returncode == 0

    # The first worker takes a moment to be seen everywhere, and a busy machine may be too slow for a check.
    wait_until(in_order, "nothing is wrong", seconds=600, pause=0.5)
    documents: list[dict[str, Any]] = []

    def is_said_to_be_in_order() -> bool:
        documents.append(examined(site.environment, BASE_URL=address))
        return bool(documents[-1]["status"] == "ok")

    wait_until(is_said_to_be_in_order, "nothing is wrong in the JSON either", seconds=300, pause=0.5)
    document = documents[-1]
    codes = {one["code"] for one in document["findings"]}
    assert {"database.reachable", "migrations.applied", "work.clock", "work.couriers", "mail.relay"} <= codes
    if set_up != "embedded":
        assert {"database.durable", "database.connections", "broker.reachable"} <= codes


def test_help_names_the_exit_codes_and_the_schema() -> None:
    said = visit(clean_environment(), "--help").stdout
    for words in ("0  nothing is wrong", "1  warnings", "2  errors", "findings   a list of objects", "--dkim-selector"):
        assert words in said


def test_with_everything_down_it_still_says_so(tmp_path: Path) -> None:
    secret = "s3cret-" + secrets.token_hex(8)
    down = {
        "DATABASE_URL": f"postgres://courant:{secret}@127.0.0.1:{free_port()}/courant",
        "BROKER_URL": f"amqp://courant:{secret}@127.0.0.1:{free_port()}/courant",
        "EMAIL_URL": f"smtp://courant:{secret}@127.0.0.1:{free_port()}",
    }
    done = visit(clean_environment(), **down)
    assert done.returncode == 2
    for code in ("database.unreachable", "broker.unreachable", "mail.port_closed", "work.not_checked"):
        assert f"[{code}]" in done.stdout, done.stdout
    assert secret not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert examined(clean_environment(), **down)["status"] == "error"


def test_with_everything_frozen_it_ends_in_time(
    postgresql: Postgresql, rabbitmq: Rabbitmq, tmp_path: Path, make_site: Callable[..., Site]
) -> None:
    site = make_site("rabbitmq")
    began = time.monotonic()
    frozen = (postgresql.running, rabbitmq.running)
    try:
        for program in frozen:
            program.send_group(signal.SIGSTOP)
        document = examined(site.environment)
    finally:
        for program in frozen:
            program.send_group(signal.SIGCONT)
    # A minute for all checks together, and the start of a process.
    assert time.monotonic() - began < 120
    assert finding(document, "database.gave_up")["level"] == "error"
    assert finding(document, "broker.unreachable")["level"] == "error"
    # What does not depend on them is looked at all the same.
    assert finding(document, "mail.relay")["level"] == "ok"


def test_a_frozen_redis_is_given_up(redis: RedisServer, make_site: Callable[..., Site]) -> None:
    site = make_site("redis")
    redis.running.send(signal.SIGSTOP)
    try:
        document = examined(site.environment)
    finally:
        redis.running.send(signal.SIGCONT)
    assert finding(document, "broker.unreachable")["level"] == "error"


def test_no_secret_is_printed(make_site: Callable[..., Site], redis: RedisServer) -> None:
    site = make_site("embedded")
    words = [secrets.token_hex(12) for _ in range(3)]
    variables = {
        "BROKER_URL": f"redis://stranger:{words[0]}@127.0.0.1:{redis.port}/0",
        "EMAIL_URL": f"smtp://courant:{words[1]}@127.0.0.1:{free_port()}",
        "SIGNING_KEYS": site.environment["SECRET_KEY"] + "," + words[2] * 3,
    }
    for arguments in ([], ["--json"]):
        done = visit(site.environment, *arguments, **variables)
        assert not [word for word in words if word in done.stdout + done.stderr]
        assert site.environment["SECRET_KEY"] not in done.stdout + done.stderr
        assert "broker.refused" in done.stdout


def test_a_test_mail_is_sent_on_request(make_site: Callable[..., Site], smtp_sink: object) -> None:
    site = make_site("embedded")
    document = examined(site.environment, "--mail-to", "operator@gazette.example")
    assert "operator@gazette.example was taken: 250" in finding(document, "mail.test_sent")["seen"]


@pytest.mark.parametrize(
    "arguments", [["--mail-to", "nobody"], ["--resolver", "localhost"], ["--resolver", "127.0.0.1:0"]]
)
def test_an_argument_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    done = visit(clean_environment(), *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert arguments[0] in done.stderr
