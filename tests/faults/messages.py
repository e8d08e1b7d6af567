"""What somebody with the broker's password could put on a queue."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping

import pika
from redis import Redis

from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer

NOT_MESSAGES = (
    b"",
    b"no json",
    b'{"actor_name": 1}',
    b"\x00" * 100_000,
    b'{"queue_name":"bulk","actor_name":"no_such","args":[],"kwargs":{},"options":{},"message_id":"1"}',
)
NOT_ISSUES = (-1, 2**63, "1; drop", 999_999)


def publish(broker: Rabbitmq | RedisServer, bodies: Mapping[str, bytes]) -> None:
    """Put messages on the bulk queue, past the site; Redis knows each by its name."""
    if isinstance(broker, Rabbitmq):
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        for body in bodies.values():
            channel.basic_publish("", "bulk", body)
        connection.close()
    else:
        with Redis(port=broker.port) as client:
            for name, body in bodies.items():
                client.hset("dramatiq:bulk.msgs", name, body)
                client.rpush("dramatiq:bulk", name)


def waiting(broker: Rabbitmq | RedisServer) -> int:
    """Return how many messages on the bulk queue nobody has taken yet."""
    if isinstance(broker, Rabbitmq):
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        declared = connection.channel().queue_declare("bulk", passive=True)
        connection.close()
        return int(declared.method.message_count)
    with Redis(port=broker.port) as client:
        return int(client.llen("dramatiq:bulk"))


def doorbells(issues: Iterable[int | str], *, actor: str = "deliver") -> dict[str, bytes]:
    """Return messages for an actor by fresh names, each with one argument."""
    return {name: _doorbell(actor, issue, name) for issue in issues for name in [uuid.uuid4().hex]}


def _doorbell(actor: str, issue: int | str, name: str) -> bytes:
    message: dict[str, object] = {"queue_name": "bulk", "actor_name": actor, "args": [issue], "kwargs": {}}
    message |= {"options": {"redis_message_id": name}, "message_id": name, "message_timestamp": 1_700_000_000_000}
    return json.dumps(message).encode()
