"""A scheduled issue starts, or says why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from newsletters.models import Edition, Issue, IssueState
from newsletters.publishing import sending
from tests.cast import make_issue, make_newsletter, make_reader

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def scheduled() -> Issue:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = make_issue(newsletter)
    assert Issue.objects.filter(pk=issue.pk).move([IssueState.DRAFT], IssueState.SCHEDULED, scheduled_at=Now())
    return issue


def failing(error: Exception) -> Any:
    def freeze(*_args: Any, **_more: Any) -> Edition:
        raise error

    return freeze


def test_an_issue_that_cannot_be_rendered_is_blocked_and_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    issue = scheduled()
    monkeypatch.setattr(sending, "freeze", failing(ValueError("a mistake in rendering")))
    sending.start_due(issue.pk)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.BLOCKED, "composition_failed")
    assert sending.due_issues() == []


def test_an_issue_waits_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    issue = scheduled()
    monkeypatch.setattr(sending, "freeze", failing(OperationalError("the database is away")))
    with pytest.raises(OperationalError):
        sending.start_due(issue.pk)
    assert sending.due_issues() == [issue.pk]
