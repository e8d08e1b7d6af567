"""What lives as long as a worker process: the courier and the clock, made from the settings."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from dramatiq.asyncio import get_event_loop_thread

from config.clock_thread import Companion
from core.clock import Clock
from core.restore_store import open_store
from newsletters.actors import QUESTIONS
from newsletters.delivery import couriers, restore_watch
from newsletters.delivery.backend import BackendConnection
from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.restore_watch import Watch
from newsletters.delivery.smtp import Connection, Relay, connect

DJANGO_SMTP = "django.core.mail.backends.smtp.EmailBackend"


def prepare() -> None:
    """Let the worker's threads, which start before the companions, send nothing yet."""
    restore_watch.expect()


def make() -> list[Companion]:
    """Return the companions in the order in which they start."""
    thread = get_event_loop_thread()
    assert thread is not None, "the AsyncIO middleware starts the event loop before the worker boots"
    limits = Limits(
        lanes=settings.DELIVERY_LANES,
        issues=settings.WORKER_THREADS // 2,
        slice_seconds=settings.DELIVERY_SLICE_SECONDS,
        lease_seconds=settings.DELIVERY_LEASE_SECONDS,
        pacing=settings.DESTINATION_PACING,
    )
    courier = Courier(thread.loop, limits, open_connection())
    couriers.register(courier)
    # The watch comes first: nothing is sent before it has recognised the database.
    watch = Watch(open_store(settings.RESTORE_GUARD_STORE))
    restore_watch.register(watch)
    return [watch, courier, Clock(QUESTIONS)]


def open_connection() -> Callable[[], Awaitable[Connection]]:
    """Return how lanes get a connection: our SMTP, or the adapter for another e-mail backend."""
    if settings.EMAIL_BACKEND == DJANGO_SMTP:
        relay = Relay(
            host=settings.EMAIL_HOST,
            port=settings.EMAIL_PORT,
            username=settings.EMAIL_HOST_USER,
            password=settings.EMAIL_HOST_PASSWORD,
            use_starttls=settings.EMAIL_USE_TLS,
            use_tls=settings.EMAIL_USE_SSL,
            connect_seconds=settings.EMAIL_TIMEOUT,
            most_mails=settings.EMAIL_CONNECTION_MAILS,
            most_seconds=settings.EMAIL_CONNECTION_SECONDS,
        )
        return functools.partial(connect, relay)
    executor = ThreadPoolExecutor(settings.DELIVERY_LANES, thread_name_prefix="backend")

    async def open_backend() -> Connection:
        return BackendConnection(executor)

    return open_backend
