"""RabbitMQ: confirms, alarms and queues, asked over the connection that Dramatiq itself would make."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pika
from django.conf import settings
from dramatiq import Broker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPConnectionError,
    ChannelClosedByBroker,
    ConnectionBlockedTimeout,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
    UnroutableError,
)

from newsletters.doctor.findings import Finding, error, note, ok, quote
from newsletters.doctor.queues import depth

NOT_FOUND = 404


def state(broker: Broker) -> Iterator[Finding]:
    """Connect as workers do, publish a message that no queue takes, and look at the queues."""
    assert isinstance(broker, RabbitmqBroker)
    yield from _setting(broker)
    where = place()
    try:
        channel = broker.channel
    except (ProbableAuthenticationError, ProbableAccessDeniedError, ConnectionClosedByBroker) as failure:
        yield error(
            "broker.refused",
            f"{where} refuses us: {type(failure).__name__} {quote(failure)}",
            "Correct user, password and virtual host in BROKER_URL, or: rabbitmqctl set_permissions -p VHOST USER "
            "'.*' '.*' '.*'",
        )
        return
    except (AMQPConnectionError, AMQPConnectorException, OSError) as failure:
        yield error(
            "broker.unreachable",
            f"{where} cannot be reached: {type(failure).__name__}.",
            "Start the broker, or correct BROKER_URL. Requests work without it; nothing is sent until it is back.",
        )
        return
    try:
        yield ok("broker.reachable", f"RabbitMQ at {where} answers.")
        yield _publish(channel)
        yield from _queues(broker)
    except ConnectionBlockedTimeout:
        # The first message may still be answered; the connection is blocked from then on.
        yield error(
            "broker.blocked",
            "It takes no messages now: an alarm is on, mostly of its memory or its disk.",
            "rabbitmq-diagnostics check_local_alarms shows which; free memory or disk space there.",
        )
    finally:
        del broker.connection


def place() -> str:
    """Return where the broker is, without user and password."""
    parts = urlsplit(settings.BROKER_URL)
    return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}{parts.path}"


def _setting(broker: RabbitmqBroker) -> Iterator[Finding]:
    if not (settings.DRAMATIQ_BROKER["OPTIONS"].get("confirm_delivery") and broker.confirm_delivery):
        yield error(
            "broker.confirms_not_asked",
            "Publisher confirms are off: a message that the broker never got counts as published.",
            'Set "confirm_delivery": True in the OPTIONS of DRAMATIQ_BROKER.',
        )


def _publish(channel: BlockingChannel) -> Finding:
    """Publish to a queue that does not exist, as mandatory: a broker with confirms hands it back."""
    try:
        channel.basic_publish("", f"courant-doctor-{uuid.uuid4().hex}", b"", mandatory=True)
    except UnroutableError:
        return ok("broker.confirms", "It confirms what is published.")
    return error(
        "broker.confirms_missing",
        "It did not hand back a message that no queue takes: publisher confirms do not work on this channel.",
        'Set "confirm_delivery": True in the OPTIONS of DRAMATIQ_BROKER, and look at proxies before the broker.',
    )


def _queues(broker: RabbitmqBroker) -> Iterator[Finding]:
    missing = []
    for name in sorted(broker.get_declared_queues()):
        counts = [_passive(broker, full) for full in (name, f"{name}.DQ", f"{name}.XQ")]
        if counts[0] is None:
            missing.append(name)
            continue
        messages, consumers = counts[0]
        yield from depth(
            name,
            messages=messages + (counts[1] or (0, 0))[0],
            dead=(counts[2] or (0, 0))[0],
            consumers=consumers,
            purge=f"rabbitmqctl purge_queue -p '{urlsplit(settings.BROKER_URL).path.lstrip('/') or '/'}' {name}.XQ",
        )
    if missing:
        yield note(
            "broker.queues_missing",
            f"There is no queue {', '.join(missing)} yet; a worker or the first message makes it.",
            "python manage.py worker",
        )


def _passive(broker: RabbitmqBroker, name: str) -> tuple[int, int] | None:
    """Return a queue's messages and consumers, or None when there is no such queue."""
    connection: pika.BlockingConnection = broker.connection
    if not connection.is_open:
        return None
    channel = connection.channel()
    try:
        answer = channel.queue_declare(name, passive=True).method
    except ChannelClosedByBroker as closed:
        if closed.reply_code != NOT_FOUND:
            raise
        return None
    channel.close()
    return answer.message_count, answer.consumer_count
