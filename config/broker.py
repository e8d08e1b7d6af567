"""The Dramatiq broker: one URL chooses RabbitMQ, Redis or the in-memory broker."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django_dramatiq.middleware import DbConnectionsMiddleware
from dramatiq.middleware import AgeLimit, AsyncIO, Middleware, ShutdownNotifications, TimeLimit

from config.clock_thread import ClockThread
from core.dramatiq_middleware import BindMessageId, EndInTime, EndWithMaster, OneSigterm, SafeRetries

RABBITMQ = "dramatiq.brokers.rabbitmq.RabbitmqBroker"
REDIS = "dramatiq.brokers.redis.RedisBroker"
MEMORY = "dramatiq.brokers.stub.StubBroker"
# A frozen broker must give up within seconds, never block a thread for ever (dependencies: pika's time-outs).
RABBITMQ_PARAMETERS = "heartbeat=30&blocked_connection_timeout=5&socket_timeout=3&stack_timeout=5&connection_attempts=1"


def middleware() -> list[Middleware]:
    """Return the stack in order; DbConnections first, so that it closes what the others opened."""
    return [
        DbConnectionsMiddleware(),
        AgeLimit(),
        TimeLimit(time_limit=120_000),
        ShutdownNotifications(),
        AsyncIO(),
        SafeRetries(max_retries=5, min_backoff=1_000, max_backoff=900_000),
        OneSigterm(),
        EndInTime(),
        EndWithMaster(),
        BindMessageId(),
        ClockThread(),
    ]


def dramatiq_broker(url: str) -> dict[str, Any]:
    """Return django-dramatiq's DRAMATIQ_BROKER setting for a broker URL."""
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        return {"BROKER": MEMORY, "OPTIONS": {}, "MIDDLEWARE": middleware()}
    if scheme.startswith("redis"):
        options: dict[str, Any] = {"url": url, "maintenance_chance": 50_000, "heartbeat_timeout": 30_000}
        return {"BROKER": REDIS, "OPTIONS": options, "MIDDLEWARE": middleware()}
    joined = url + ("&" if urlsplit(url).query else "?") + RABBITMQ_PARAMETERS
    return {"BROKER": RABBITMQ, "OPTIONS": {"url": joined, "confirm_delivery": True}, "MIDDLEWARE": middleware()}
