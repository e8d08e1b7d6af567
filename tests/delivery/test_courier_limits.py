"""Senders' limits and destinations' windows, on a real database, with a relay that counts."""

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

import pytest
from django.db import connection
from django.db.models.functions import Now

from core.tokens import address_digest
from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.smtp import Relay, connect
from newsletters.delivery.window import CAP
from newsletters.models import (
    Delivery,
    Destination,
    Issue,
    Newsletter,
    SenderIdentity,
    Subscriber,
)
from tests.cast import make_newsletter, make_publisher, make_readers
from tests.delivery.acts import send, states
from tests.delivery.busy_relay import BusyRelay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]

LIMITS = Limits(lanes=16, issues=4, slice_seconds=3, lease_seconds=60)
LONGEST = 60.0


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
        self.loop.close()

    def ring(self, issue: Issue) -> None:
        for process in self.processes:
            self.rung.append(asyncio.run_coroutine_threadsafe(process.courier.serve(issue.pk), process.loop))

    def deliver(self, *issues: Issue, until: Callable[[], bool] | None = None) -> None:
        """Ring for the issues four times a second until none has an open row, or until a condition holds."""
        ends = time.monotonic() + LONGEST
        while not (until() if until else _closed(issues)):
            assert time.monotonic() < ends, [states(issue) for issue in issues]
            for issue in issues:
                if Delivery.objects.filter(issue=issue, state="queued", next_at__lte=Now()).exists():
                    self.ring(issue)
            time.sleep(0.1)


def _closed(issues: Sequence[Issue]) -> bool:
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


def test_the_first_mail_of_a_cold_process_leaves_at_once() -> None:
    relay = BusyRelay()
    issue = issue_for(1)
    with site(relay) as running:
        began = running.loop.time()
        running.deliver(issue)
    assert relay.sent_at[0] - began < 1.0
    assert_each_once(relay, issue)


def test_two_processes_never_have_more_connections_at_work_than_their_sender_may() -> None:
    newsletter = make_newsletter()
    limit(newsletter, max_connections=3)
    relay = BusyRelay(seconds=lambda _: 0.01)
    first = issue_for(200, newsletter=newsletter)
    second = issue_for(200, newsletter=make_newsletter(newsletter.publisher, sender=newsletter.sender))
    with site(relay, processes=2) as running:
        running.deliver(first, second)
    assert 2 <= relay.most_under_way <= 3
    assert_each_once(relay, first, second)


def test_a_limit_on_connections_is_lowered_and_raised_while_sending() -> None:
    newsletter = make_newsletter()
    limit(newsletter, max_connections=8)
    relay = BusyRelay(seconds=lambda _: 0.02)
    issue = issue_for(4000, newsletter=newsletter)
    most: list[int] = []

    def for_seconds(running: Site, seconds: float) -> None:
        until = time.monotonic() + seconds
        running.deliver(issue, until=lambda: time.monotonic() > until)

    def both_are_known(running: Site) -> bool:
        return all(one.courier._bounds.roster.share(1000) == 500 for one in running.processes)

    with site(relay, processes=2) as running:
        running.deliver(issue, until=lambda: both_are_known(running))
        for allowed in (8, 2, 6):
            limit(newsletter, max_connections=allowed)
            # An edit is heard of within a second, and mails in flight end.
            for_seconds(running, 2.0)
            relay.most_under_way = 0
            for_seconds(running, 2.0)
            most.append(relay.most_under_way)
        limit(newsletter, max_connections=None)
        running.deliver(issue)
    assert most == [8, 2, 6]
    assert_each_once(relay, issue)


def test_a_small_issue_is_not_kept_waiting_by_a_large_one_of_the_same_sender() -> None:
    newsletter = make_newsletter()
    limit(newsletter, max_connections=1)
    relay = BusyRelay(seconds=lambda _: 0.01)
    large = issue_for(1000, newsletter=newsletter)
    small = issue_for(1, newsletter=make_newsletter(newsletter.publisher, sender=newsletter.sender))
    with site(relay, limits=Limits(lanes=16, issues=4, slice_seconds=60, lease_seconds=60)) as running:
        running.deliver(large, until=lambda: len(relay.sent) > 50)
        running.deliver(small)
        assert Delivery.objects.filter(issue=large, state="queued").exists()
        limit(newsletter, max_connections=None)
        running.deliver(large)
    assert relay.most_under_way > 1
    assert_each_once(relay, large, small)


def test_a_rate_is_kept_by_two_processes_together_and_an_edit_is_heard_while_sending() -> None:
    newsletter = make_newsletter()
    limit(newsletter, max_rate=40)
    relay = BusyRelay()
    issue = issue_for(400, newsletter=newsletter)
    with site(relay, processes=2) as running:
        began = running.loop.time()
        running.deliver(issue, until=lambda: len(relay.sent) >= 120)
        seconds = running.loop.time() - began
        assert 0.6 * 40 * seconds <= len(relay.sent) <= 1.2 * 40 * seconds + 20
        limit(newsletter, max_rate=1000)
        edited, before = running.loop.time(), len(relay.sent)
        running.deliver(issue)
        assert running.loop.time() - edited < (400 - before) / 40
    assert_each_once(relay, issue)


def test_no_window_is_ever_exceeded_whatever_the_number_of_issues() -> None:
    publisher = make_publisher()
    Destination.objects.create(publisher=publisher, domain="narrow.example", max_concurrency=2)
    relay = BusyRelay(seconds=lambda _: 0.01)
    domains = ["narrow.example", "wide.example", *(f"{number}.example" for number in range(8))]
    issues = [issue_for(200, domains=domains, newsletter=make_newsletter(publisher)) for _ in range(2)]
    with site(relay, limits=Limits(lanes=40, issues=4, slice_seconds=3, lease_seconds=60)) as running:
        running.deliver(*issues)
    assert relay.most_by_domain["narrow.example"] == 2
    assert max(relay.most_by_domain.values()) <= CAP
    assert_each_once(relay, *issues)


def test_a_tarpit_does_not_stop_the_others() -> None:
    relay = BusyRelay(seconds=lambda domain: 8.0 if domain == "tar.example" else 0.005)
    domains = ["tar.example", *(f"{number}.example" for number in range(9))]
    issue = issue_for(400, domains=domains)
    with site(relay) as running:
        running.deliver(issue, until=lambda: len([one for one in relay.sent if "tar" not in one]) == 360)
        # Not one of the tarpit's first mails has ended.
        assert len(relay.sent) == 360
        assert relay.most_by_domain["tar.example"] <= 5
        relay.seconds = lambda _: 0.0
        running.deliver(issue)
    assert_each_once(relay, issue)


def test_a_destination_that_says_slow_down_is_closed_alone_and_goes_on_when_it_is_reopened() -> None:
    def answer(address: str) -> str:
        return "421 4.7.0 slow down" if "slow" in address and refusing else "250 2.1.5 ok"

    refusing = True
    relay = BusyRelay(answer=answer)
    issue = issue_for(200, domains=["slow.example", "b.example", "c.example", "d.example"])
    with site(relay) as running:
        running.deliver(issue, until=lambda: len(relay.sent) == 150)
        running.deliver(issue, until=lambda: Destination.objects.filter(closed_until__gt=Now()).exists())
        (row,) = Destination.objects.all()
        assert (row.domain, row.closed_seconds, row.last_reply) == ("slow.example", 300, "421 4.7.0 slow down")
        attempts = len(relay.rcpts)
        time.sleep(1.5)
        assert len(relay.rcpts) == attempts
        assert attempts - 150 <= 2 * 5
        waiting = Delivery.objects.filter(issue=issue, state="queued")
        assert waiting.count() == 50
        assert set(waiting.filter(attempts=0).values_list("reason", flat=True)) == {"destination_closed"}
        refusing = False
        Destination.objects.update(closed_until=None, closed_seconds=0)
        waiting.update(next_at=Now())
        running.deliver(issue)
    assert_each_once(relay, issue)
    assert not Destination.objects.filter(closed_seconds__gt=0).exists()


@pytest.mark.parametrize("pacing", [True, False])
def test_a_fast_list_of_one_domain_is_delivered_to_everybody_once(pacing: bool) -> None:
    relay = BusyRelay(seconds=lambda _: 0.005)
    issue = issue_for(1500, domains=["one.example"])
    limits = Limits(lanes=32, issues=4, slice_seconds=20, lease_seconds=60, pacing=pacing)
    with site(relay, limits=limits) as running:
        running.deliver(issue)
    assert (relay.most_by_domain["one.example"] <= CAP) is pacing
    assert_each_once(relay, issue)
    assert not Delivery.objects.exclude(attempts=1).exists()


def test_a_relay_that_allows_few_connections_is_used_with_as_many() -> None:
    relay = BusyRelay(seconds=lambda _: 0.01, most_connections=3)
    issue = issue_for(300)
    with site(relay) as running:
        running.deliver(issue)
    assert relay.most_held == 3
    assert relay.refused <= LIMITS.lanes
    assert_each_once(relay, issue)
    assert not Delivery.objects.exclude(attempts=1).exists()


def test_an_issue_is_not_kept_waiting_by_another_on_a_relay_that_allows_one_connection() -> None:
    relay = BusyRelay(seconds=lambda _: 0.01, most_connections=1)
    large, small = issue_for(1000), issue_for(1)
    with site(relay, limits=Limits(lanes=16, issues=4, slice_seconds=60, lease_seconds=60)) as running:
        running.deliver(large, until=lambda: len(relay.sent) > 50)
        running.deliver(small)
        assert Delivery.objects.filter(issue=large, state="queued").exists()
        relay.seconds = lambda _: 0.0
        running.deliver(large)
    assert_each_once(relay, large, small)


def test_a_relay_that_ends_each_connection_after_three_mails_costs_no_attempt() -> None:
    relay = BusyRelay(most_mails=3)
    issue = issue_for(300)
    with site(relay) as running:
        running.deliver(issue)
    assert_each_once(relay, issue)
    assert not Delivery.objects.exclude(attempts=1).exists()
    assert Issue.objects.get(pk=issue.pk).state == "sending"
