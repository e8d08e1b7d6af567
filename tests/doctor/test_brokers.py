from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pika
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from redis import Redis

from core.models import ClockLease
from newsletters.doctor import broker
from newsletters.doctor.findings import Finding, Level, Terms
from newsletters.doctor.rabbitmq import state as state_of_rabbitmq
from tests.doctor.visit import examined, fault, finding
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.site import Site


@pytest.fixture
def on_rabbitmq(make_site: Callable[..., Site], rabbitmq: Rabbitmq) -> Site:
    """A site with a virtual host of its own, so with no queues yet."""
    name = f"doctor-{len(rabbitmq.control('list_vhosts').split())}"
    rabbitmq.control("add_vhost", name)
    rabbitmq.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    return make_site("rabbitmq", BROKER_URL=rabbitmq.url.replace("%2F", name))


@pytest.fixture
def on_redis(make_site: Callable[..., Site], redis: RedisServer) -> Iterator[tuple[Site, Redis]]:
    redis.flush()
    with Redis(port=redis.port) as client:
        yield make_site("redis"), client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0)
        client.flushall()


def declare(url: str, name: str, messages: int = 0) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.queue_declare(name, durable=True)
    channel.confirm_delivery()
    for _ in range(messages):
        channel.basic_publish("", name, b"x")
    connection.close()


# --- RabbitMQ ---------------------------------------------------------------------------------------------


def test_a_rabbitmq_that_nobody_has_used_confirms_and_has_no_queues(on_rabbitmq: Site) -> None:
    document = examined(on_rabbitmq.environment)
    assert finding(document, "broker.confirms")["level"] == "ok"
    missing = finding(document, "broker.queues_missing")
    assert (missing["level"], missing["remedy"]) == ("note", "python manage.py worker")
    assert "bulk, default, transactional" in missing["seen"]


def test_a_queue_that_nobody_takes_from_and_dead_letters_are_found(on_rabbitmq: Site, rabbitmq: Rabbitmq) -> None:
    url = on_rabbitmq.environment["BROKER_URL"]
    declare(url, "bulk", 3)
    declare(url, "bulk.XQ", 2)
    document = examined(on_rabbitmq.environment)
    assert "bulk (3 waiting)" in finding(document, "broker.no_consumer")["seen"]
    dead = finding(document, "broker.dead_letters")
    assert (dead["level"], "given up 2" in dead["seen"]) == ("warning", True)
    # The remedy is what it says.
    command = dead["remedy"].partition("forget them: rabbitmqctl ")[2]
    rabbitmq.control(*command.replace("'", "").split())
    assert "broker.dead_letters" not in str(examined(on_rabbitmq.environment))


def test_an_alarm_is_told_from_a_broker_that_is_well(on_rabbitmq: Site, rabbitmq: Rabbitmq) -> None:
    rabbitmq.control("set_vm_memory_high_watermark", "0")
    try:
        document = examined(on_rabbitmq.environment)
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", "absolute", "512MB")
    found = finding(document, "broker.blocked")
    assert found["level"] == "error"
    assert "check_local_alarms" in found["remedy"]


@pytest.mark.parametrize("change", [("guest:guest@", "guest:wrong-password@"), ("doctor-", "nobody-s-")])
def test_a_rabbitmq_that_refuses_us(on_rabbitmq: Site, change: tuple[str, str]) -> None:
    url = on_rabbitmq.environment["BROKER_URL"].replace(*change)
    document = examined(on_rabbitmq.environment, BROKER_URL=url)
    refused = finding(document, "broker.refused")
    assert refused["level"] == "error"
    assert "BROKER_URL" in refused["remedy"]
    assert "wrong-password" not in str(document)


def test_confirms_that_are_not_asked_for_are_found_in_settings_and_on_the_wire(
    rabbitmq: Rabbitmq, settings: Any
) -> None:
    careless = RabbitmqBroker(url=rabbitmq.url, middleware=[])
    settings.BROKER_URL = rabbitmq.url
    settings.DRAMATIQ_BROKER = {"OPTIONS": {"confirm_delivery": False}}
    found = list(state_of_rabbitmq(careless))
    fault(found, "broker.confirms_not_asked", Level.ERROR)
    fault(found, "broker.confirms_missing", Level.ERROR)


# --- Redis ------------------------------------------------------------------------------------------------


def test_a_redis_by_itself_is_in_order_but_for_the_workers(on_redis: tuple[Site, Redis]) -> None:
    document = examined(on_redis[0].environment)
    assert finding(document, "broker.keeps")["level"] == "ok"
    assert finding(document, "broker.no_consumer")["level"] == "warning"


def test_a_redis_that_evicts_or_is_nearly_full(on_redis: tuple[Site, Redis]) -> None:
    site, client = on_redis
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 50_000)
    document = examined(site.environment)
    assert "noeviction" in finding(document, "broker.evicts")["remedy"]
    assert finding(document, "broker.memory_nearly_full")["level"] == "warning"


def test_a_redis_database_that_others_use(on_redis: tuple[Site, Redis]) -> None:
    site, client = on_redis
    client.set("dramatiq:ours", 1)
    client.set("somebody:else", 1)
    shared = finding(examined(site.environment), "broker.database_shared")
    assert shared["seen"].startswith("1 key(s)")
    assert "BROKER_URL" in shared["remedy"]


def test_long_queues_and_dead_letters_of_redis(on_redis: tuple[Site, Redis]) -> None:
    site, client = on_redis
    client.rpush("dramatiq:bulk", *range(1_001))
    client.zadd("dramatiq:default.XQ", {"a": 1, "b": 2})
    document = examined(site.environment)
    assert "bulk has 1,001 messages" in finding(document, "broker.queue_long")["seen"]
    dead = finding(document, "broker.dead_letters")
    assert dead["remedy"].endswith("redis-cli -n 0 DEL dramatiq:default.XQ dramatiq:default.XQ.msgs")


def test_a_replica_takes_no_messages(on_redis: tuple[Site, Redis]) -> None:
    site, client = on_redis
    # Of a primary that does not exist.
    client.replicaof("127.0.0.1", "9")
    try:
        assert finding(examined(site.environment), "broker.replica")["level"] == "error"
    finally:
        client.replicaof("NO", "ONE")


def test_a_redis_that_hides_its_memory(on_redis: tuple[Site, Redis]) -> None:
    site, client = on_redis
    client.acl_setuser("modest", enabled=True, passwords=["+modest-pw"], keys=["*"], commands=["+@all", "-info"])
    try:
        port = urlsplit(site.environment["BROKER_URL"]).port
        document = examined(site.environment, BROKER_URL=f"redis://modest:modest-pw@127.0.0.1:{port}/0")
    finally:
        client.acl_deluser("modest")
    assert finding(document, "broker.info_hidden")["level"] == "note"
    assert "modest-pw" not in str(document)


# --- what the clock says ----------------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "code", "level"),
    [("", "broker.never_reported", Level.NOTE), ("ConnectionError", "broker.clock_cannot_publish", Level.WARNING)],
)
def test_what_the_clock_last_reported_is_shown(error: str, code: str, level: Level) -> None:
    ClockLease.objects.update_or_create(pk=1, defaults={"broker_error": error})
    [found] = broker.last_report(Terms())
    assert isinstance(found, Finding)
    assert (found.code, found.level) == (code, level)
