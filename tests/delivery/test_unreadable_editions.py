"""An edition that nobody can read: its issue waits for the workers of another release, then for a person."""

from __future__ import annotations

import datetime

import pytest
from django.db.models import F
from django.db.models.functions import Now

from newsletters.delivery import rescue
from newsletters.delivery.editions import UNREADABLE, note_unreadable
from newsletters.models import Edition, Issue, IssueState
from newsletters.publishing import sending
from newsletters.publishing.fan_out import fan_out, issues_to_fan_out
from newsletters.publishing.progress import measure
from tests.cast import make_issue, make_newsletter, make_readers
from tests.delivery.acts import Deliver, send, states
from tests.delivery.scripted_relay import ScriptedRelay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]

SECOND = datetime.timedelta(seconds=1)


def started(*, fanned_out: bool = True) -> Issue:
    newsletter = make_newsletter()
    make_readers(newsletter, 5)
    if fanned_out:
        return send(newsletter)
    issue = make_issue(newsletter)
    sending.send(issue.pk)
    return issue


def damage(issue: Issue) -> bytes:
    """Make the edition unreadable; returns what it was."""
    stored = bytes(Edition.objects.get(issue=issue).template)
    Edition.objects.filter(issue=issue).update(template=b'{"version": 999}')
    return stored


def repair(issue: Issue, stored: bytes) -> None:
    Edition.objects.filter(issue=issue).update(template=stored)


def let_pass(issue: Issue, time: datetime.timedelta) -> None:
    """Make it seem that so much time has passed since nobody could read the edition."""
    noted = Issue.objects.filter(pk=issue.pk, unread_since__isnull=False)
    assert noted.update(unread_since=F("unread_since") - time) == 1


def stand(issue: Issue) -> tuple[str, str]:
    issue.refresh_from_db()
    return issue.state, issue.state_reason


def test_an_issue_whose_edition_nobody_reads_for_ten_minutes_is_blocked_and_goes_on_once_repaired(
    deliver: Deliver,
) -> None:
    issue, relay = started(), ScriptedRelay()
    stored = damage(issue)
    deliver(issue, relay, rounds=2)
    let_pass(issue, UNREADABLE - 60 * SECOND)
    deliver(issue, relay)
    assert stand(issue) == (IssueState.SENDING, "")
    let_pass(issue, 60 * SECOND)
    deliver(issue, relay)
    assert stand(issue) == (IssueState.BLOCKED, "edition_unreadable")
    assert issue.state_detail
    assert rescue.issues_with_due_rows() == []
    assert measure(issue).accounted
    repair(issue, stored)
    sending.resume(issue.pk)
    deliver(issue, relay)
    assert (states(issue), stand(issue)) == ({"sent": 5}, (IssueState.SENDING, ""))


def test_a_missing_edition_blocks_as_an_unreadable_one_does(deliver: Deliver) -> None:
    issue, relay = started(), ScriptedRelay()
    Edition.objects.filter(issue=issue).delete()
    deliver(issue, relay)
    let_pass(issue, UNREADABLE)
    deliver(issue, relay)
    assert stand(issue) == (IssueState.BLOCKED, "edition_unreadable")


def test_while_one_worker_can_read_it_the_others_which_cannot_block_nothing(deliver: Deliver) -> None:
    issue = started()
    note_unreadable(issue.pk)
    let_pass(issue, UNREADABLE)
    # This worker is of the release that froze it.
    deliver(issue, ScriptedRelay({"rcpt": "450 4.2.1 busy"}))
    note_unreadable(issue.pk)
    assert stand(issue) == (IssueState.SENDING, "")


def test_resuming_gives_another_ten_minutes(deliver: Deliver) -> None:
    issue, relay = started(), ScriptedRelay()
    damage(issue)
    deliver(issue, relay)
    let_pass(issue, UNREADABLE)
    deliver(issue, relay)
    sending.resume(issue.pk)
    deliver(issue, relay)
    assert stand(issue) == (IssueState.SENDING, "")


def test_time_in_which_it_is_paused_blocks_nothing(deliver: Deliver) -> None:
    issue, relay = started(), ScriptedRelay()
    damage(issue)
    deliver(issue, relay)
    let_pass(issue, UNREADABLE)
    sending.pause(issue.pk)
    note_unreadable(issue.pk)
    assert stand(issue) == (IssueState.PAUSED, "")
    sending.resume(issue.pk)
    note_unreadable(issue.pk)
    assert stand(issue) == (IssueState.SENDING, "")


def test_before_its_first_row_exists_fan_out_blocks_it_and_goes_on_once_repaired() -> None:
    issue = started(fanned_out=False)
    stored = damage(issue)
    fan_out(issue.pk)
    assert stand(issue) == (IssueState.SENDING, "")
    let_pass(issue, UNREADABLE)
    fan_out(issue.pk)
    assert stand(issue) == (IssueState.BLOCKED, "edition_unreadable")
    assert issues_to_fan_out() == []
    repair(issue, stored)
    sending.resume(issue.pk)
    assert issues_to_fan_out() == [issue.pk]
    fan_out(issue.pk)
    assert states(issue) == {"queued": 5}


def test_a_cancelled_issue_is_accounted_for_although_nobody_can_read_its_edition() -> None:
    issue = started(fanned_out=False)
    damage(issue)
    sending.cancel(issue.pk)
    fan_out(issue.pk)
    assert states(issue) == {"cancelled": 5}
    assert rescue.finish_issues() == 1


def test_a_fan_out_that_can_read_the_edition_ends_the_count() -> None:
    issue = started(fanned_out=False)
    Issue.objects.filter(pk=issue.pk).update(unread_since=Now() - UNREADABLE)
    fan_out(issue.pk)
    note_unreadable(issue.pk)
    assert stand(issue) == (IssueState.SENDING, "")
