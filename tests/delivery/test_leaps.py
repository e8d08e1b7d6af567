"""After the database's clock has leapt back, nothing waits for hours that will come a second time."""

from __future__ import annotations

import datetime
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from core.database import database_now
from newsletters.audience import importing
from newsletters.delivery import leaps
from newsletters.models import ActiveCourier, Delivery, Destination, Import, Issue, Notice
from tests.cast import make_newsletter, make_reader, make_readers
from tests.delivery.acts import claim, permit, settle, start

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]

LEAP = timedelta(hours=2)
# Between the leap and the look of the test.
MOMENT = timedelta(seconds=30)


def ahead(moment: Any) -> datetime.timedelta:
    assert isinstance(moment, datetime.datetime)
    return moment - database_now()


def test_a_delivery_that_was_due_is_due_again() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    issue = start(newsletter)
    Delivery.objects.update(next_at=F("next_at") + LEAP)
    assert claim(issue) == []
    leaps.pull_back()
    assert len(claim(issue)) == 2


def test_a_row_of_a_dead_worker_is_due_after_however_many_attempts() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    Delivery.objects.update(next_at=F("next_at") + LEAP, attempts=7, kills=1, reason="worker_died")
    leaps.pull_back()
    assert len(claim(issue, suspects=True)) == 1


@pytest.mark.parametrize(("attempts", "longest"), [(1, 6), (2, 18), (11, 24 * 72)])
def test_a_deferred_delivery_waits_no_longer_than_its_schedule_and_no_shorter(attempts: int, longest: int) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    issue = start(newsletter)
    stranded, in_order = claim(issue)
    settle(permit(stranded), "queued", counted=1, delay=30 * 86_400.0)
    settle(permit(in_order), "queued", counted=1, delay=longest * 60 - 60.0)
    Delivery.objects.update(attempts=attempts)
    before = Delivery.objects.get(pk=in_order.delivery_id).next_at
    leaps.pull_back()
    assert abs(ahead(Delivery.objects.get(pk=stranded.delivery_id).next_at) - timedelta(minutes=longest)) < MOMENT
    assert Delivery.objects.get(pk=in_order.delivery_id).next_at == before


def test_a_lease_ends_in_time_and_is_not_taken_away() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    Delivery.objects.update(lease_until=F("lease_until") + LEAP)
    leaps.pull_back()
    leased = Delivery.objects.get(pk=row.delivery_id)
    assert timedelta(seconds=30) < ahead(leased.lease_until) <= timedelta(seconds=60)
    settle(permit(row), "sent")
    assert Delivery.objects.get(pk=row.delivery_id).state == "sent"


def test_nothing_of_an_issue_began_in_the_future() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    future = database_now() + LEAP
    Issue.objects.update(resumed_at=future, failing_since=future, unread_since=future, trials_at=future)
    leaps.pull_back()
    issue.refresh_from_db()
    for moment in (issue.resumed_at, issue.failing_since, issue.unread_since, issue.trials_at):
        assert ahead(moment) <= timedelta(0)


def test_a_closed_destination_opens_after_the_length_of_its_closure() -> None:
    publisher = make_newsletter().publisher
    future = database_now() + LEAP
    Destination.objects.create(publisher=publisher, domain="example.org", closed_until=future, closed_seconds=120)
    leaps.pull_back()
    assert abs(ahead(Destination.objects.get().closed_until) - timedelta(seconds=120)) < MOMENT


def test_a_dead_courier_is_not_counted_and_a_live_one_stays() -> None:
    dead, alive = uuid.uuid4(), uuid.uuid4()
    ActiveCourier.objects.create(holder=dead, seen_at=database_now() + LEAP)
    ActiveCourier.objects.create(holder=alive)
    leaps.pull_back()
    assert ActiveCourier.objects.get().holder == alive


@pytest.mark.parametrize(
    ("state", "attempts", "longest"),
    [("queued", 0, timedelta(minutes=1)), ("queued", 2, timedelta(minutes=5)), ("sending", 1, timedelta(minutes=3))],
)
def test_a_notice_waits_no_longer_than_its_schedule(
    settings: Any, state: str, attempts: int, longest: timedelta
) -> None:
    settings.EMAIL_TIMEOUT = 15
    future = database_now() + LEAP
    subscription = make_reader(make_newsletter())
    Notice.objects.create(
        kind="confirmation", subscription=subscription, to_address="ada@example.org", state=state, attempts=attempts
    )
    Notice.objects.update(next_at=future, lease_until=future if state == "sending" else None)
    leaps.pull_back()
    notice = Notice.objects.get()
    assert abs(ahead(notice.lease_until if state == "sending" else notice.next_at) - longest) < MOMENT


def test_an_import_of_a_dead_worker_goes_on_when_a_lease_has_passed() -> None:
    Import.objects.create(newsletter=make_newsletter(), state="running", lease_until=database_now() + LEAP)
    importing.pull_back()
    assert timedelta(0) < ahead(Import.objects.get().lease_until) <= importing.LEASE
