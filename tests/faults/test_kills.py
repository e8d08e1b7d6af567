"""Kill what an issue depends on while it is being sent. Nobody may be lost, whatever dies."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.services import editor
from tests.services.processes import wait_until
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.sinks import SmtpSink
from tests.services.site import Site

READERS = 600
LANES = 8
KILLS = 4


def start(site: Site, sink: SmtpSink, *, readers: int = READERS) -> tuple[str, set[str]]:
    """Import the readers and send them an issue; return its id and their addresses."""
    newsletter_id = editor.make_newsletter(site)
    expected = editor.import_numbered_readers(site, newsletter_id, readers)
    # Each mail takes its time between the sink's ledger and its reply: where a kill hurts most.
    sink.script({"*": {"delay": 0.03}})
    issue_id = editor.write_issue(site, newsletter_id)
    assert site.send_issue(issue_id).status == 202
    return issue_id, expected


@pytest.fixture
def running(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    site = make_site(request.param, DELIVERY_LANES=str(LANES))
    site.start_web()
    site.start_worker()
    return site


@pytest.mark.parametrize("running", ["embedded", "rabbitmq", "redis"], indirect=True)
def test_killed_workers_lose_nobody(running: Site, smtp_sink: SmtpSink) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201  # shown when the test fails
    chance = random.Random(seed)  # noqa: S311  # a schedule that can be repeated
    issue_id, expected = start(running, smtp_sink)
    [worker] = running.workers
    for kill in range(1, KILLS + 1):
        aim = kill * READERS // (KILLS + 1)
        wait_until(lambda aim=aim: smtp_sink.count() >= aim, f"{aim} mails are out", seconds=60)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.05))
        restarts = worker.restarts
        worker.kill()
        wait_until(lambda before=restarts: worker.restarts > before, "it runs again", seconds=10)  # type: ignore[misc]
    running.wait_for_issue(issue_id, "sent", seconds=120)
    extra = editor.check_nobody_is_lost(running, issue_id, smtp_sink, expected)
    assert extra.total() <= KILLS * LANES


def test_a_wiped_rabbitmq_loses_and_doubles_nobody(
    make_site: Callable[..., Site], rabbitmq: Rabbitmq, smtp_sink: SmtpSink
) -> None:
    site = make_site("rabbitmq", DELIVERY_LANES=str(LANES))
    site.start_web()
    site.start_worker()
    issue_id, expected = start(site, smtp_sink)
    wait_until(lambda: smtp_sink.count() >= 50, "50 mails are out", seconds=60)
    rabbitmq.wipe()
    back = time.monotonic()
    site.wait_for_issue(issue_id, "sent", seconds=90)
    assert time.monotonic() - back < 60
    assert editor.check_nobody_is_lost(site, issue_id, smtp_sink, expected) == {}


@pytest.mark.parametrize("loss", ["flush", "restart"])
def test_an_emptied_redis_loses_and_doubles_nobody(
    make_site: Callable[..., Site], redis: RedisServer, smtp_sink: SmtpSink, loss: str
) -> None:
    site = make_site("redis", DELIVERY_LANES=str(LANES))
    site.start_web()
    site.start_worker()
    issue_id, expected = start(site, smtp_sink)
    wait_until(lambda: smtp_sink.count() >= 50, "50 mails are out", seconds=60)
    getattr(redis, loss)()
    site.wait_for_issue(issue_id, "sent", seconds=90)
    assert editor.check_nobody_is_lost(site, issue_id, smtp_sink, expected) == {}


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_an_issue_can_be_sent_while_the_broker_is_down(
    request: pytest.FixtureRequest, make_site: Callable[..., Site], smtp_sink: SmtpSink, broker: str
) -> None:
    site = make_site(broker)
    site.start_web()
    site.start_worker()
    server: Any = request.getfixturevalue(broker)
    newsletter_id = editor.make_newsletter(site)
    expected = editor.import_numbered_readers(site, newsletter_id, 50)
    issue_id = editor.write_issue(site, newsletter_id)
    server.kill()
    started = time.monotonic()
    assert site.send_issue(issue_id).status == 202
    assert time.monotonic() - started < 1
    server.start()
    site.wait_for_issue(issue_id, "sent", seconds=60)
    assert editor.check_nobody_is_lost(site, issue_id, smtp_sink, expected) == {}


def test_lost_replies_are_flagged_and_sent_again(make_site: Callable[..., Site], smtp_sink: SmtpSink) -> None:
    site = make_site("embedded", DELIVERY_LANES=str(LANES))
    site.start_web()
    site.start_worker()
    newsletter_id = editor.make_newsletter(site)
    expected = editor.import_numbered_readers(site, newsletter_id, 100)
    unlucky = {f"reader-{number}@example.org" for number in (1, 50, 100)}
    smtp_sink.script({address: {"lose_reply": True, "times": 1} for address in unlucky})
    issue_id = editor.write_issue(site, newsletter_id)
    assert site.send_issue(issue_id).status == 202
    site.wait_for_issue(issue_id, "sent", seconds=60)
    extra = editor.check_nobody_is_lost(site, issue_id, smtp_sink, expected)
    assert extra == dict.fromkeys(unlucky, 1)
    rows = site.every(f"/issues/{issue_id}/deliveries")
    assert {row["address"] for row in rows if row["uncertain"]} == unlucky
