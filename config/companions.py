"""What lives as long as a worker process: the courier and the clock, made from the settings."""

from __future__ import annotations

from django.conf import settings
from dramatiq.asyncio import get_event_loop_thread

from config.clock_thread import Companion
from core.clock import Clock
from core.restore_store import open_store
from newsletters.actors import AFTER_A_LEAP, QUESTIONS
from newsletters.delivery import couriers, restore_watch
from newsletters.delivery.configured import open_connection
from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.restore_watch import Watch


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
    return [watch, courier, Clock(QUESTIONS, AFTER_A_LEAP)]
