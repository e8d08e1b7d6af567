"""Senders' limits and destinations' windows, on a real database, with a relay that counts."""

from __future__ import annotations

import functools
import time

import pytest
from django.db.models.functions import Now

from newsletters.delivery.courier import Limits
from newsletters.delivery.rates import BURST_SECONDS
from newsletters.delivery.window import CAP
from newsletters.models import (
    Delivery,
    Destination,
    Issue,
)
from tests.cast import make_newsletter, make_publisher
from tests.delivery.busy_relay import BusyRelay
from tests.delivery.site_acts import LIMITS, Site, assert_each_once, issue_for, limit, site

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]
RATE = 10.0


def test_the_first_mail_of_a_cold_process_leaves_at_once() -> None:
    waited = []
    # The best of five: another process of the machine is no delay of ours.
    for _ in range(5):
        relay, issue = BusyRelay(), issue_for(1)
        with site(relay) as running:
            began = running.loop.time()
            running.deliver(issue)
        waited.append(relay.sent_at[0] - began)
        assert_each_once(relay, issue)
    assert min(waited) < 1.0


def test_two_processes_never_have_more_connections_at_work_than_their_sender_may() -> None:
    newsletter = make_newsletter()
    limit(newsletter, max_connections=3)
    # Long beside what a turn of the ledger takes on a busy machine, so that mails do meet.
    relay = BusyRelay(seconds=lambda _: 0.05)
    first = issue_for(60, newsletter=newsletter)
    second = issue_for(60, newsletter=make_newsletter(newsletter.publisher, sender=newsletter.sender))
    with site(relay, processes=2) as running:
        running.deliver(first, second)
    assert 2 <= relay.most_under_way <= 3
    assert_each_once(relay, first, second)


def test_a_limit_on_connections_is_lowered_and_raised_while_sending() -> None:
    newsletter = make_newsletter()
    limit(newsletter, max_connections=8)
    # Long beside what comes between two mails on a busy machine, so that as many as may be do meet.
    relay = BusyRelay(seconds=lambda _: 0.25)
    issue = issue_for(2000, newsletter=newsletter)
    sender_id = newsletter.sender_id
    most: list[int] = []

    def for_seconds(running: Site, seconds: float) -> None:
        until = time.monotonic() + seconds
        running.deliver(issue, until=lambda: time.monotonic() > until)

    def both_are_known(running: Site) -> bool:
        return all(one.courier._bounds.roster.share(1000) == 500 for one in running.processes)

    def is_kept(running: Site, allowed: int) -> bool:
        """Say whether both have heard of the edit, and what was in flight before it has ended."""
        couriers = [one.courier for one in running.processes]
        at_work = sum(courier._of_sender[sender_id] for courier in couriers)
        allowed_now = sum(courier._bounds.connections(sender_id) for courier in couriers)
        return bool(allowed_now == allowed >= at_work)

    def is_used(_: Site, allowed: int) -> bool:
        return relay.most_under_way >= allowed

    with site(relay, processes=2) as running:
        running.deliver(issue, until=lambda: both_are_known(running))
        for allowed in (8, 2, 6):
            limit(newsletter, max_connections=allowed)
            running.deliver(issue, until=functools.partial(is_kept, running, allowed))
            relay.most_under_way = 0
            running.deliver(issue, until=functools.partial(is_used, running, allowed))
            for_seconds(running, 1.0)
            most.append(relay.most_under_way)
        assert Delivery.objects.filter(state="queued").exists()
        limit(newsletter, max_connections=None)
        relay.seconds = lambda _: 0.0
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
    # So slow that any machine keeps up.
    limit(newsletter, max_rate=RATE)
    relay = BusyRelay()
    issue = issue_for(400, newsletter=newsletter)
    with site(relay, processes=2) as running:
        began = running.loop.time()
        running.deliver(issue, until=lambda: len(relay.sent) >= 50)
        sent = len(relay.sent)
        assert sent <= RATE * (running.loop.time() - began + BURST_SECONDS) + 1
        assert 0.5 * RATE * (relay.sent_at[49] - relay.sent_at[0]) <= 49
        limit(newsletter, max_rate=1000)
        edited, before = running.loop.time(), len(relay.sent)
        running.deliver(issue)
        assert running.loop.time() - edited < (400 - before) / RATE
    assert_each_once(relay, issue)


def test_no_window_is_ever_exceeded_whatever_the_number_of_issues() -> None:
    publisher = make_publisher()
    Destination.objects.create(publisher=publisher, domain="narrow.example", max_concurrency=2)
    # So that mails to the narrow one do meet.
    relay = BusyRelay(seconds=lambda domain: 0.1 if domain == "narrow.example" else 0.01)
    domains = ["narrow.example", "wide.example", *(f"{number}.example" for number in range(8))]
    issues = [issue_for(200, domains=domains, newsletter=make_newsletter(publisher)) for _ in range(2)]
    with site(relay, limits=Limits(lanes=40, issues=4, slice_seconds=3, lease_seconds=60)) as running:
        running.deliver(*issues)
    assert relay.most_by_domain["narrow.example"] == 2
    assert max(relay.most_by_domain.values()) <= CAP
    assert_each_once(relay, *issues)


def test_a_tarpit_does_not_stop_the_others() -> None:
    relay = BusyRelay(seconds=lambda domain: 3600.0 if domain == "tar.example" else 0.005)
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
        waiting = Delivery.objects.filter(issue=issue, state="queued")
        # What was in flight when it was closed has ended.
        running.deliver(issue, until=lambda: waiting.count() == 50)
        attempts = len(relay.rcpts)
        time.sleep(1.5)
        assert len(relay.rcpts) == attempts
        assert attempts - 150 <= 2 * 5
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
