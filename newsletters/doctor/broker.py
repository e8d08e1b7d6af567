"""Whether workers can be woken: the broker of BROKER_URL, and what the clock last reported of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from django.conf import settings

from core.models import ClockLease
from newsletters import actors
from newsletters.doctor import rabbitmq, redis_server
from newsletters.doctor.findings import Finding, Terms, note, ok, quote, warning


def state(_terms: Terms) -> Iterable[Finding]:
    """Look at the broker itself."""
    scheme = urlsplit(settings.BROKER_URL).scheme
    if scheme == "memory":
        return [note("broker.memory", "The broker is in memory: one worker process does everything.")]
    # The queues are those of the actors, which must have been imported.
    broker = actors.deliver.broker
    if scheme.startswith("redis"):
        return redis_server.state(broker.get_declared_queues())
    return rabbitmq.state(broker)


def last_report(_terms: Terms) -> Iterator[Finding]:
    """Look at what the clock of the workers last found, which may stand elsewhere in the network."""
    lease = ClockLease.objects.filter(pk=1).first()
    if lease is None or (lease.broker_ok_at is None and not lease.broker_error):
        yield note("broker.never_reported", "No clock has reported on the broker yet.")
    elif lease.broker_error:
        yield warning(
            "broker.clock_cannot_publish",
            f"The workers' clock cannot ring: {quote(lease.broker_error)}.",
            "See that the workers reach BROKER_URL; it tries again every second, and nothing is lost meanwhile.",
        )
    else:
        yield ok("broker.last_report", f"The workers' clock last rang at {lease.broker_ok_at:%Y-%m-%d %H:%M:%S} UTC.")
