"""What still happens to an issue whose rows are gone changes none of its numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from core.errors import ConflictError
from core.tokens import make_token
from newsletters.audience.subscribing import erase_subscriber
from newsletters.delivery import rescue, retention
from newsletters.delivery.dialects import dialect
from newsletters.models import Delivery, Issue, Subscription
from newsletters.publishing import newsletters, sending
from newsletters.publishing.fan_out import fan_out, issues_to_fan_out
from newsletters.publishing.progress import measure
from tests.cast import make_newsletter, make_reader
from tests.delivery.acts import claim, permit, settle, start
from tests.delivery.ended import DAYS, age, archive, make_ended, rows_of

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.fixture(autouse=True)
def days(settings: Settings) -> None:
    settings.DELIVERY_RETENTION_DAYS = DAYS


def test_nothing_can_be_done_to_an_archived_issue() -> None:
    issue = make_ended()
    archive(issue)
    steps: list[Callable[[int], None]] = [sending.send, sending.pause, sending.resume, sending.unschedule]
    for step in (*steps, sending.cancel):
        with pytest.raises(ConflictError):
            step(issue.pk)
    assert issues_to_fan_out() == []
    fan_out(issue.pk)
    assert rescue.finish_issues() == 0
    assert rows_of(issue) == 0


def test_an_outcome_that_comes_after_the_removal_changes_nothing() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    gate = permit(claim(issue)[0])
    settle(gate, "sent")
    rescue.finish_issues()
    age(issue, DAYS + 1)
    archive(issue)
    settle(gate, "sent")
    settle(gate, "bounced", suppress_after=1)
    assert dialect().turn([], [gate]) == set()
    assert dialect().refusals([gate]) == []
    assert measure(issue).sent == 1


def test_the_number_of_a_removed_row_is_never_given_again() -> None:
    newsletter = make_newsletter()
    old = make_ended(newsletter)
    latest = Delivery.objects.latest("pk").pk
    archive(old)
    new = start(newsletter)
    assert Delivery.objects.filter(issue=new).earliest("pk").pk > latest


def test_a_reader_may_leave_and_be_erased_after_the_removal() -> None:
    newsletter = make_newsletter()
    issue = make_ended(newsletter)
    leaves, erased = Subscription.objects.filter(newsletter=newsletter).order_by("pk")[:2]
    archive(issue)
    token = make_token("unsubscribe", leaves.pk, issued=1)
    assert Client().post(f"/u/{token}", {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert Subscription.objects.get(pk=leaves.pk).state == "unsubscribed"
    erase_subscriber(erased.subscriber)
    assert measure(issue).accounted


def test_a_deleted_newsletter_is_purged_with_its_archived_issues() -> None:
    newsletter = make_newsletter()
    archived, begun = make_ended(newsletter), make_ended(newsletter)
    archive(archived)
    archive(begun, seconds=0)
    newsletters.delete_newsletter(newsletter)
    assert retention.due_ids(0) == []
    newsletters.purge(newsletter.pk)
    assert not Issue.objects.exists()
    assert not Delivery.objects.exists()
