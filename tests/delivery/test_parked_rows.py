"""Rows that found no room at their destination: left queued by a few slices, they are rung for when their turn comes.

Finding: after three rounds without a pause between them, six couriers leave some of sixty rows queued. Each of these
waits for its turn, two seconds or more away, so there is nothing to ring for yet; the clock's question finds them then.
"""

from __future__ import annotations

import datetime

import pytest
from django.db.models import F

from newsletters.delivery import rescue
from newsletters.delivery.window import Queue
from newsletters.models import Delivery, Issue
from tests.delivery.busy_relay import BusyRelay
from tests.delivery.site_acts import LONGEST, Site, assert_each_once, is_closed, issue_for, site

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]
PROCESSES, READERS = 6, 60
A_WHILE = datetime.timedelta(seconds=2 * Queue.LONGEST)


def ring_three_times(running: Site, issue: Issue) -> None:
    """Ring in all processes, and again as soon as all have ended, whether rows are due or not."""
    for _ in range(3):
        running.ring(issue)
        for future in running.rung:
            future.result(LONGEST)


def test_rows_that_six_couriers_park_are_not_due_before_their_turn_and_then_all_go_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With room for one waiting row in each process most rows are parked, and for longer than this test takes.
    monkeypatch.setattr(Queue, "LEAST_ROOM", 1)
    monkeypatch.setattr(Queue, "MOST_ROOM", 1)
    monkeypatch.setattr(Queue, "SHORTEST", 120.0)
    issue, relay = issue_for(READERS, domains=["one.example"]), BusyRelay(seconds=lambda _: 0.05)
    with site(relay, processes=PROCESSES) as running:
        ring_three_times(running, issue)
        parked = Delivery.objects.filter(issue=issue, state="queued")
        assert 0 < parked.count() == READERS - len(relay.sent)
        assert set(parked.values_list("reason", "attempts", "lease_token")) == {("destination_busy", 0, None)}
        assert rescue.issues_with_due_rows() == []
        while not is_closed([issue]):
            if parked.update(next_at=F("next_at") - A_WHILE):
                # What the clock asks.
                assert rescue.issues_with_due_rows() == [issue.pk]
            ring_three_times(running, issue)
    assert_each_once(relay, issue)
