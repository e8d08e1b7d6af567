"""Redis as a broker: whether it may forget messages, whose database it is, and its queues."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

import redis
from django.conf import settings
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from newsletters.doctor.findings import Finding, error, note, ok, quote, warning
from newsletters.doctor.queues import depth

ANSWER_SECONDS = 3.0
# A proportion of other keys shows in the first few hundred.
KEYS_LOOKED_AT = 500
NEARLY_FULL = 0.9
FRESH_MILLISECONDS = 60_000
NAMESPACE = "dramatiq"


def state(names: Collection[str]) -> Iterator[Finding]:
    """Connect, and look at memory, neighbours and the queues of these names."""
    where = place()
    with redis.Redis.from_url(
        settings.BROKER_URL, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, retry=None
    ) as client:
        try:
            client.ping()
        except (AuthenticationError, NoPermissionError, ResponseError) as failure:
            yield error(
                "broker.refused",
                f"{where} refuses us: {quote(failure)}",
                "Correct user, password and database number in BROKER_URL.",
            )
            return
        except (RedisError, OSError) as failure:
            yield error(
                "broker.unreachable",
                f"{where} cannot be reached: {type(failure).__name__}.",
                "Start the broker, or correct BROKER_URL. Requests work without it; nothing is sent until it is back.",
            )
            return
        yield from _memory(client, where)
        yield from _neighbours(client)
        yield from _queues(client, names)


def place() -> str:
    """Return where the broker is, without user and password."""
    parts = urlsplit(settings.BROKER_URL)
    return f"{parts.hostname}:{parts.port or 6379}{parts.path}"


def _memory(client: redis.Redis, where: str) -> Iterator[Finding]:
    try:
        facts: Any = client.info()
    except NoPermissionError:
        yield note(
            "broker.info_hidden", f"Redis at {where} answers, but INFO is not allowed: its memory cannot be seen."
        )
        return
    yield ok("broker.reachable", f"Redis {facts['redis_version']} at {where} answers.")
    if facts.get("role") == "slave":
        yield error(
            "broker.replica",
            "This server is a replica, which takes no writes.",
            "Let BROKER_URL name the primary.",
        )
    policy, most = facts.get("maxmemory_policy", "unknown"), int(facts.get("maxmemory", 0))
    if policy != "noeviction":
        yield warning(
            "broker.evicts",
            f"maxmemory-policy is {policy}: with its memory full it drops messages, and sending stutters.",
            "redis-cli CONFIG SET maxmemory-policy noeviction; redis-cli CONFIG REWRITE",
        )
    else:
        yield ok("broker.keeps", "It evicts nothing (noeviction). It need not be persistent.")
    if most and int(facts["used_memory"]) > NEARLY_FULL * most:
        yield warning(
            "broker.memory_nearly_full",
            f"It uses {int(facts['used_memory']) / (1 << 20):.0f} of {most / (1 << 20):.0f} MiB.",
            "Raise maxmemory, or remove what else lies there.",
        )


def _neighbours(client: redis.Redis) -> Iterator[Finding]:
    foreign = 0
    for seen, key in enumerate(client.scan_iter(count=KEYS_LOOKED_AT)):
        foreign += not key.startswith(f"{NAMESPACE}:".encode())
        if seen + 1 >= KEYS_LOOKED_AT:
            break
    if foreign:
        yield warning(
            "broker.database_shared",
            f"{foreign} key(s) of others lie in the same Redis database: a FLUSHDB of theirs takes our messages along.",
            "Give Courant a database number or a server of its own: BROKER_URL=redis://HOST:PORT/NUMBER",
        )


def _queues(client: redis.Redis, names: Collection[str]) -> Iterator[Finding]:
    seconds, microseconds = client.time()
    now = seconds * 1000 + microseconds // 1000
    consumers: Any = client.zcount(f"{NAMESPACE}:__heartbeats__", now - FRESH_MILLISECONDS, "+inf")
    if consumers == 0:
        yield warning("broker.no_consumer", "No worker has been seen for a minute.", "python manage.py worker")
    number = client.connection_pool.connection_kwargs.get("db") or 0
    for name in sorted(names):
        waiting: Any = client.llen(f"{NAMESPACE}:{name}")
        delayed: Any = client.llen(f"{NAMESPACE}:{name}.DQ")
        dead: Any = client.zcard(f"{NAMESPACE}:{name}.XQ")
        yield from depth(
            name,
            messages=waiting + delayed,
            dead=dead,
            consumers=None,
            purge=f"redis-cli -n {number} DEL {NAMESPACE}:{name}.XQ {NAMESPACE}:{name}.XQ.msgs",
        )
