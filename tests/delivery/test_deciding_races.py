"""Who resends a held row while others finish, cancel or archive its issue, or resend it too: one wins."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from accounts.models import AuditEntry
from core.errors import ConflictError, NotFoundError
from newsletters.delivery import rescue, retention
from newsletters.delivery.deciding import Decision, decide
from newsletters.models import Delivery, Issue, IssueState, Newsletter
from newsletters.publishing import sending
from newsletters.publishing.newsletters import delete_newsletter
from tests.delivery.acts import states
from tests.delivery.ended import DAYS, age
from tests.delivery.test_deciding import EDITOR, held_row, issue_state, make_held
from tests.racing import raised_at_once
from tests.waiting import wait_for_a_waiter

pytestmark = pytest.mark.django_db(transaction=True)


def together(*acts: Callable[[], object]) -> None:
    """Run functions at the same moment, each in a thread with a connection of its own; refusals are expected."""
    raised_at_once(*acts, expected=(ConflictError, NotFoundError))


def behind_a_resend(row: Delivery, act: Callable[[], object], *, why: str) -> None:
    """Have `act` wait in a thread, as `why` says, for a resend of `row` to commit; returns when both have ended."""

    def run() -> None:
        try:
            act()
        finally:
            connection.close()

    other = threading.Thread(target=run)
    with transaction.atomic():
        decide(row, Decision.RESEND, actor=EDITOR)
        other.start()
        wait_for_a_waiter(why)
    other.join()


def test_an_issue_is_not_finished_over_a_row_that_is_just_being_resent() -> None:
    issue = make_held(sent=1)
    row = held_row(issue)
    finished: list[int] = []
    behind_a_resend(row, lambda: finished.append(rescue.finish_issues()), why="finishing waits for the decision")
    assert (finished, issue_state(issue), states(issue)) == ([0], "sending", {"queued": 1, "sent": 1})


def test_of_many_that_resend_one_row_one_does() -> None:
    issue = make_held()
    row = held_row(issue)
    together(*[lambda: decide(row, Decision.RESEND, actor=EDITOR)] * 6)
    assert (states(issue), AuditEntry.objects.count()) == ({"queued": 1}, 1)


def test_of_opposite_decisions_one_takes_effect() -> None:
    for _ in range(5):
        issue = make_held()
        row = held_row(issue)
        before = AuditEntry.objects.count()
        together(*[functools.partial(decide, row, how, actor=EDITOR) for how in Decision])
        assert AuditEntry.objects.count() == before + 1
        assert sum(states(issue).values()) == 1


def test_a_row_resent_while_its_issue_is_cancelled_is_never_left_open() -> None:
    for _ in range(5):
        issue = make_held()
        row = held_row(issue)
        together(lambda: decide(row, Decision.RESEND, actor=EDITOR), lambda: sending.cancel(issue.pk))  # noqa: B023
        rescue.sweep_cancelled()
        rescue.finish_issues()
        ended = Issue.objects.get(pk=issue.pk)
        assert (ended.state, ended.finished_at is None) == (IssueState.CANCELLED, False)
        assert states(issue) in ({"held": 1}, {"cancelled": 1})


def test_a_row_decided_while_its_issue_is_archived_is_kept_or_counted(settings: Settings) -> None:
    settings.DELIVERY_RETENTION_DAYS = DAYS
    for decision in [Decision.RESEND, Decision.DROP] * 3:
        issue = make_held()
        rescue.finish_issues()
        age(issue, DAYS + 1)
        row = held_row(issue)
        together(
            lambda row=row, decision=decision: decide(row, decision, actor=EDITOR),  # type: ignore[misc]
            lambda pk=issue.pk: retention.archive(pk, until=time.monotonic() + 300),  # type: ignore[misc]
        )
        after = Issue.objects.get(pk=issue.pk)
        if decision == Decision.RESEND:
            assert (after.state, after.archived_at, states(issue)) == ("sending", None, {"queued": 1})
        else:
            assert after.final_counts is None or after.final_counts["cancelled"] == 1
            assert Delivery.objects.filter(issue=issue).exists() == (after.archived_at is None)


def test_a_newsletter_is_not_deleted_over_a_row_that_is_just_being_resent() -> None:
    issue = make_held()
    rescue.finish_issues()
    row = held_row(issue)
    refused: list[str] = []

    def delete() -> None:
        try:
            delete_newsletter(issue.newsletter)
        except ConflictError as error:
            refused.append(error.code)

    behind_a_resend(row, delete, why="deleting waits for the decision")
    assert (refused, issue_state(issue)) == (["newsletter_is_sending"], "sending")
    assert Newsletter.objects.alive().filter(pk=issue.newsletter_id).exists()


@pytest.mark.parametrize("decision", Decision)
def test_nothing_of_a_newsletter_that_is_just_being_deleted_is_decided(decision: Decision) -> None:
    issue = make_held()
    rescue.finish_issues()
    row = held_row(issue)
    refused: list[str] = []

    def decide_late() -> None:
        try:
            decide(row, decision, actor=EDITOR)
        except NotFoundError as error:
            refused.append(error.code)
        finally:
            connection.close()

    other = threading.Thread(target=decide_late)
    with transaction.atomic():
        delete_newsletter(issue.newsletter)
        other.start()
        wait_for_a_waiter("deciding waits for the deletion")
    other.join()
    assert (refused, issue_state(issue), states(issue)) == (["not_found"], "sent", {"held": 1})
    assert not AuditEntry.objects.exists()
