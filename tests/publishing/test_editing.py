from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db.models.functions import Now

from core.errors import ConflictError, InvalidError
from newsletters.models import Issue, IssueState
from newsletters.publishing.editing import create_issue, delete_issue, update_issue
from tests.cast import make_issue, make_newsletter, make_user

pytestmark = pytest.mark.django_db
STARTED_STATES = (
    IssueState.SENDING,
    IssueState.PAUSED,
    IssueState.BLOCKED,
    IssueState.SENT,
    IssueState.CANCELLED,
)


def in_state(state: str) -> Issue:
    issue = make_issue(make_newsletter())
    times = {"started_at": Now(), "finished_at": Now(), "fan_out_done_at": Now()} if state in STARTED_STATES else {}
    Issue.objects.filter(pk=issue.pk).update(state=state, scheduled_at=datetime(2030, 1, 1, tzinfo=UTC), **times)
    issue.refresh_from_db()
    return issue


def test_a_new_issue_is_a_draft() -> None:
    newsletter = make_newsletter()
    author = make_user(publisher=newsletter.publisher)
    issue = create_issue(newsletter, subject=" Hello ", preheader="Soon", body="# Hi", created_by=author)
    issue.refresh_from_db()
    assert (issue.subject, issue.preheader, issue.body, issue.body_format) == ("Hello", "Soon", "# Hi", "markdown")
    assert issue.state == IssueState.DRAFT
    assert issue.created_by == author


def test_a_refused_issue_is_not_stored() -> None:
    with pytest.raises(InvalidError):
        create_issue(make_newsletter(), subject="Hello", body="{{ nope }}")
    assert not Issue.objects.exists()


@pytest.mark.parametrize("state", [IssueState.DRAFT, IssueState.SCHEDULED])
def test_an_issue_that_has_not_started_can_be_changed(state: str) -> None:
    issue = update_issue(in_state(state), subject="Changed")
    assert issue.subject == "Changed"
    assert issue.state == state
    assert issue.body.startswith("# Hello")


def test_a_refused_change_leaves_the_issue_as_it_was() -> None:
    issue = in_state(IssueState.DRAFT)
    with pytest.raises(InvalidError):
        update_issue(issue, subject="Fine", body="[x](//evil.example)")
    issue.refresh_from_db()
    assert issue.subject == "What happened this week"


def test_a_change_of_format_alone_judges_the_body_anew() -> None:
    issue = create_issue(make_newsletter(), subject="Hello", body="<a href='/relative'>x</a>")
    with pytest.raises(InvalidError):
        update_issue(issue, body_format="html")


@pytest.mark.parametrize("state", STARTED_STATES)
def test_a_started_issue_can_be_neither_changed_nor_deleted(state: str) -> None:
    issue = in_state(state)
    with pytest.raises(ConflictError) as changing:
        update_issue(issue, subject="Changed")
    with pytest.raises(ConflictError) as deleting:
        delete_issue(issue)
    assert (changing.value.code, deleting.value.code) == ("issue_not_editable", "issue_not_deletable")
    assert state in changing.value.detail
    issue.refresh_from_db()
    assert issue.subject == "What happened this week"


def test_an_issue_started_by_somebody_else_meanwhile_is_not_changed() -> None:
    issue = in_state(IssueState.DRAFT)
    Issue.objects.filter(pk=issue.pk).update(state=IssueState.SENDING, started_at=Now())
    with pytest.raises(ConflictError):
        update_issue(issue, subject="Changed")
    with pytest.raises(ConflictError):
        delete_issue(issue)
    assert Issue.objects.get(pk=issue.pk).subject == "What happened this week"


def test_only_a_draft_can_be_deleted() -> None:
    delete_issue(in_state(IssueState.DRAFT))
    assert not Issue.objects.exists()
    with pytest.raises(ConflictError):
        delete_issue(in_state(IssueState.SCHEDULED))
    assert Issue.objects.count() == 1
