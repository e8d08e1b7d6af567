"""Rows of dead workers move again, and an issue ends only when every row has."""

from __future__ import annotations

import pytest

from newsletters.delivery import rescue
from newsletters.models import Delivery, Issue, IssueState, OnUncertain
from newsletters.publishing import sending
from tests.cast import make_issue, make_newsletter, make_reader, make_readers
from tests.delivery.acts import begin, claim, expire_leases, permit, row_of, settle, start

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def test_an_ungated_row_of_a_dead_worker_is_simply_queued_again() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    assert rescue.reclaim_dead_leases() == 0
    expire_leases()
    assert rescue.reclaim_dead_leases() == 1
    freed = row_of(row.delivery_id)
    assert (freed.state, freed.uncertain, freed.kills, freed.lease_token) == ("queued", False, 0, None)


def test_a_gated_row_of_a_dead_worker_is_flagged_and_becomes_a_suspect() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    permit(claim(issue)[0])
    expire_leases()
    rescue.reclaim_dead_leases()
    row = Delivery.objects.get(issue=issue)
    assert (row.state, row.uncertain, row.kills) == ("queued", True, 1)
    assert claim(issue) == []
    assert len(claim(issue, suspects=True)) == 1


def test_the_third_kill_holds_the_row() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    for kill in range(3):
        permit(claim(issue, suspects=kill > 0)[0])
        expire_leases()
        rescue.reclaim_dead_leases()
    row = Delivery.objects.get(issue=issue)
    assert (row.state, row.kills, row.reason) == ("held", 3, "worker_died")


def test_a_newsletter_may_hold_uncertain_mails_at_once() -> None:
    newsletter = make_newsletter(on_uncertain=OnUncertain.HOLD)
    make_reader(newsletter)
    issue = start(newsletter)
    permit(claim(issue)[0])
    expire_leases()
    rescue.reclaim_dead_leases()
    assert Delivery.objects.get(issue=issue).state == "held"


def test_an_issue_is_sent_only_when_no_row_is_open() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    issue = start(newsletter)
    one, two = claim(issue)
    settle(permit(one), "sent")
    assert rescue.finish_issues() == 0
    settle(permit(two), "queued", delay=600)
    assert rescue.finish_issues() == 0
    Delivery.objects.filter(pk=two.delivery_id).update(state="expired")
    assert rescue.finish_issues() == 1
    issue.refresh_from_db()
    assert issue.state == IssueState.SENT
    assert issue.finished_at is not None


def test_an_issue_is_not_sent_before_its_fan_out_is_complete() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = make_issue(newsletter)
    begin(issue)
    assert rescue.finish_issues() == 0


def test_a_cancelled_issue_closes_its_waiting_rows_and_then_itself() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = start(newsletter)
    in_hand = claim(issue, 1)[0]
    gate = permit(in_hand)
    sending.cancel(issue.pk)
    assert rescue.sweep_cancelled() == 2
    rescue.finish_issues()
    assert Issue.objects.get(pk=issue.pk).finished_at is None
    settle(gate, "sent")
    rescue.finish_issues()
    assert Issue.objects.get(pk=issue.pk).finished_at is not None
    states = sorted(Delivery.objects.filter(issue=issue).values_list("state", flat=True))
    assert states == ["cancelled", "cancelled", "sent"]


def test_only_sending_issues_with_a_due_row_are_rung() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    due, paused, waiting = start(newsletter), start(newsletter), start(newsletter)
    sending.pause(paused.pk)
    settle(permit(claim(waiting)[0]), "queued", delay=600)
    assert rescue.issues_with_due_rows() == [due.pk]
