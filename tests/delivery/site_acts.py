"""Several processes that deliver, each a courier on a loop of its own, and the bell that rings in all of them."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import functools
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from django.db import connection
from django.db.models.functions import Now

from core.tokens import address_digest
from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.smtp import Relay, connect
from newsletters.models import (
    Delivery,
    Issue,
    Newsletter,
    SenderIdentity,
    Subscriber,
)
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import send, states
from tests.delivery.busy_relay import BusyRelay

LIMITS = Limits(lanes=16, issues=4, slice_seconds=3, lease_seconds=60)
# Far longer than anything takes, also on a machine that has twenty other things to do.
LONGEST = 600.0


def issue_for(count: int, *, domains: Sequence[str] = (), newsletter: Newsletter | None = None) -> Issue:
    """Return an issue that is being sent; its readers belong to the domains in turn, else to one each."""
    newsletter = newsletter or make_newsletter()
    make_readers(newsletter, count)
    readers = list(Subscriber.objects.filter(subscriptions__newsletter=newsletter).order_by("pk"))
    for number, reader in enumerate(readers):
        domain = domains[number % len(domains)] if domains else f"d{number}.example"
        reader.address = reader.address_key = f"reader-{number}-{newsletter.pk}@{domain}"
        reader.address_digest = address_digest(reader.address)
    Subscriber.objects.bulk_update(readers, ["address", "address_key", "address_digest"])
    return send(newsletter)


@dataclass
class Process:
    """A courier on an event loop in a thread of its own."""

    relay: BusyRelay
    limits: Limits = LIMITS
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def start(self) -> None:
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        relay = Relay("127.0.0.1", self.relay.port)
        self.courier = self.run(self._make(functools.partial(connect, relay)))
        self.courier.start()

    async def _make(self, open_connection: Callable[[], Awaitable[Any]]) -> Courier:
        return Courier(self.loop, self.limits, open_connection)

    def run(self, act: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(act, self.loop).result(LONGEST)

    def stop(self) -> None:
        self.courier.stop()
        pacing = self.courier._bounds.pacing
        assert sum(window.busy for window in pacing._windows.values()) == 0
        assert not any(self.courier._of_sender.values())
        assert self.courier._lanes == 0
        assert self.courier._ledger._held == {}
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        # A transport that was told to close does so in the loop's next rounds.
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()


class Site:
    """Processes that deliver, and a clock that rings in all of them for what is due."""

    def __init__(self, relay: BusyRelay, processes: int, limits: Limits) -> None:
        self.relay = relay
        self.processes = [Process(relay, limits) for _ in range(processes)]
        self.loop = asyncio.new_event_loop()
        self.rung: list[concurrent.futures.Future[None]] = []

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.relay.start(), self.loop).result()
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.courier.drain()
        for future in self.rung:
            future.result(LONGEST)
        for process in self.processes:
            process.stop()
        asyncio.run_coroutine_threadsafe(self.relay.stop(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        # A transport that was told to close does so in the loop's next rounds.
        self.loop.run_until_complete(asyncio.sleep(0.05))
        self.loop.close()

    def ring(self, issue: Issue) -> None:
        for process in self.processes:
            self.rung.append(asyncio.run_coroutine_threadsafe(process.courier.serve(issue.pk), process.loop))

    def deliver(self, *issues: Issue, until: Callable[[], bool] | None = None) -> None:
        """Ring for the issues four times a second until none has an open row, or until a condition holds."""
        ends = time.monotonic() + LONGEST
        while not (until() if until else is_closed(issues)):
            assert time.monotonic() < ends, [states(issue) for issue in issues]
            for issue in issues:
                if Delivery.objects.filter(issue=issue, state="queued", next_at__lte=Now()).exists():
                    self.ring(issue)
            time.sleep(0.1)


def is_closed(issues: Sequence[Issue]) -> bool:
    return not Delivery.objects.filter(issue__in=issues, state__in=["queued", "sending"]).exists()


def site(relay: BusyRelay, *, processes: int = 1, limits: Limits = LIMITS) -> Site:
    return Site(relay, processes, limits)


def assert_each_once(relay: BusyRelay, *issues: Issue) -> None:
    counts = collections.Counter(relay.sent)
    assert set(counts.values()) == {1}
    assert [states(issue) for issue in issues] == [
        {"sent": Delivery.objects.filter(issue=one).count()} for one in issues
    ]
    assert len(counts) == Delivery.objects.filter(issue__in=issues).count()


def limit(newsletter: Newsletter, **fields: Any) -> None:
    SenderIdentity.objects.filter(pk=newsletter.sender_id).update(**fields)
    connection.close()
