"""What a person or a program does and its line in the audit log are one transaction: without the line, no effect."""

from __future__ import annotations

import datetime
import typing
from collections.abc import Callable

import pytest
from django.db import DatabaseError
from django.db.models.functions import Now

from accounts.audit import Actor
from accounts.keys import create_key, revoke
from accounts.models import ActorKind, ApiKey, AuditEntry
from core.database import database_now
from newsletters.delivery.deciding import Decision, decide_all
from newsletters.models import Delivery, Issue, IssueState
from newsletters.publishing import sending
from tests import cast
from tests.delivery.acts import claim, permit, settle, start

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
EDITOR = Actor(ActorKind.USER, cast.EDITOR)
# The database takes no line of such an actor.
NOBODY = Actor(typing.cast("ActorKind", "nobody"), "nobody")

Move = Callable[[int, Actor], None]
STARTED = {"started_at": Now()}
MOVES: dict[str, tuple[Move, IssueState, dict[str, typing.Any]]] = {
    "issue.started": (lambda issue, actor: sending.send(issue, actor=actor), IssueState.DRAFT, {}),
    "issue.scheduled": (
        lambda issue, actor: sending.schedule(issue, send_at=database_now() + datetime.timedelta(days=1), actor=actor),
        IssueState.DRAFT,
        {},
    ),
    "issue.unscheduled": (
        lambda issue, actor: sending.unschedule(issue, actor=actor),
        IssueState.SCHEDULED,
        {"scheduled_at": Now()},
    ),
    "issue.paused": (lambda issue, actor: sending.pause(issue, actor=actor), IssueState.SENDING, STARTED),
    "issue.resumed": (lambda issue, actor: sending.resume(issue, actor=actor), IssueState.PAUSED, STARTED),
    "issue.cancelled": (lambda issue, actor: sending.cancel(issue, actor=actor), IssueState.SENDING, STARTED),
}


def facts(issue: Issue) -> dict[str, typing.Any]:
    return dict(Issue.objects.values().get(pk=issue.pk))


@pytest.mark.parametrize("action", MOVES)
def test_an_issue_moves_only_together_with_its_line(action: str) -> None:
    move, state, fields = MOVES[action]
    newsletter = cast.make_newsletter()
    cast.make_reader(newsletter)
    issue = cast.make_issue(newsletter)
    if state != IssueState.DRAFT:
        assert Issue.objects.filter(pk=issue.pk).move([IssueState.DRAFT], state, **fields)
    before = facts(issue)
    with pytest.raises(DatabaseError):
        move(issue.pk, NOBODY)
    assert facts(issue) == before
    assert not AuditEntry.objects.exists()
    move(issue.pk, EDITOR)
    assert facts(issue)["state"] != before["state"]
    assert AuditEntry.objects.get().action == action


def test_held_rows_are_decided_only_together_with_their_line() -> None:
    newsletter = cast.make_newsletter()
    cast.make_reader(newsletter)
    issue = start(newsletter)
    settle(permit(claim(issue)[0]), "held", uncertain=1, reason="uncertain")
    before = Delivery.objects.values().get()
    with pytest.raises(DatabaseError):
        decide_all(issue.pk, Decision.RESEND, actor=NOBODY)
    assert Delivery.objects.values().get() == before
    assert not AuditEntry.objects.exists()


def test_a_key_is_made_and_revoked_only_together_with_its_line() -> None:
    publisher = cast.make_publisher()
    with pytest.raises(DatabaseError):
        create_key(publisher, name="Laptop", scopes=["issues:read"], actor=NOBODY)
    assert not ApiKey.objects.exists()
    key, _ = cast.make_api_key(publisher)
    with pytest.raises(DatabaseError):
        revoke(key, actor=NOBODY)
    assert ApiKey.objects.get().revoked_at is None
    assert not AuditEntry.objects.exists()
