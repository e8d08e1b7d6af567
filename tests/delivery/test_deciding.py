"""Held rows are decided by a person: sent again, taken as sent or dropped, once, and written down."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.audit import Actor
from accounts.models import ActorKind, AuditEntry
from core.errors import ConflictError
from newsletters.audience.subscribing import erase_subscriber
from newsletters.delivery import rescue
from newsletters.delivery.deciding import Decision, decide, decide_all
from newsletters.delivery.message_ids import message_id
from newsletters.models import Delivery, Issue, IssueState
from newsletters.publishing import sending
from newsletters.publishing.progress import measure
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import Deliver, claim, expire_leases, gate_of, permit, send, settle, start, states
from tests.delivery.scripted_relay import ScriptedRelay

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
EDITOR = Actor(ActorKind.USER, "editor@gazette.example", "192.0.2.1")


def make_held(count: int = 1, *, sent: int = 0, **fields: Any) -> Issue:
    """Return a sending issue with that many rows held as uncertain and others sent."""
    newsletter = make_newsletter()
    make_readers(newsletter, count + sent)
    issue = start(newsletter)
    rows = claim(issue)
    for row in rows[:count]:
        settle(permit(row), "held", uncertain=1, reason="uncertain")
    for row in rows[count:]:
        settle(permit(row), "sent")
    if fields:
        Delivery.objects.filter(issue=issue, state="held").update(**fields)
    return issue


def held_row(issue: Issue) -> Delivery:
    return Delivery.objects.select_related("issue").filter(issue=issue).earliest("pk")


def issue_state(issue: Issue) -> str:
    return Issue.objects.values_list("state", flat=True).get(pk=issue.pk)


@pytest.mark.parametrize(("kills", "kept"), [(0, 0), (1, 1), (3, 1)])
def test_a_resent_row_is_due_now_and_still_a_suspect_if_it_killed(kills: int, kept: int) -> None:
    issue = make_held(kills=kills, uncertain_outcomes=2)
    assert decide(held_row(issue), Decision.RESEND, actor=EDITOR) is True
    row = held_row(issue)
    assert (row.state, row.reason, row.kills, row.uncertain_outcomes) == ("queued", "resent", kept, 0)
    assert (row.uncertain, row.settled_at) == (True, None)
    assert len(claim(issue, suspects=kept > 0)) == 1


def test_a_resent_suspect_is_held_again_after_two_more_kills() -> None:
    issue = make_held(kills=3)
    decide(held_row(issue), Decision.RESEND, actor=EDITOR)
    for left in ("queued", "held"):
        permit(claim(issue, suspects=True)[0])
        expire_leases()
        rescue.reclaim_dead_leases()
        assert held_row(issue).state == left


@pytest.mark.parametrize(
    ("decision", "state", "reason"),
    [(Decision.ACCEPT, "sent", "accepted"), (Decision.DROP, "cancelled", "dropped")],
)
@pytest.mark.parametrize("whose", [IssueState.SENT, IssueState.CANCELLED])
def test_a_row_is_accepted_or_dropped_whatever_became_of_its_issue(
    decision: Decision, state: str, reason: str, whose: IssueState
) -> None:
    issue = make_held()
    if whose == IssueState.CANCELLED:
        sending.cancel(issue.pk)
    rescue.finish_issues()
    assert decide(held_row(issue), decision, actor=EDITOR) is True
    row = held_row(issue)
    assert (row.state, row.reason, row.uncertain, issue_state(issue)) == (state, reason, True, whose)
    assert row.settled_at is not None
    assert measure(issue).accounted


@pytest.mark.parametrize("decision", Decision)
def test_a_decision_takes_effect_and_is_written_down_once(decision: Decision) -> None:
    issue = make_held()
    assert decide(held_row(issue), decision, actor=EDITOR) is True
    assert decide(held_row(issue), decision, actor=EDITOR) is False
    entry = AuditEntry.objects.get()
    assert (entry.actor_kind, entry.actor, entry.ip_address) == ("user", EDITOR.name, EDITOR.ip_address)
    assert (entry.object_type, entry.object_id) == ("delivery", held_row(issue).uid)
    assert entry.action == f"delivery.{held_row(issue).reason}"
    assert entry.publisher_id == issue.newsletter.publisher_id
    assert entry.detail["issue"] == issue.uid


def test_resending_an_open_row_changes_nothing_whatever_has_been_tried_since() -> None:
    issue = make_held()
    decide(held_row(issue), Decision.RESEND, actor=EDITOR)
    settle(permit(claim(issue)[0]), "queued", counted=1, delay=60.0, reason="relay", reply_phase="rcpt", reply_code=451)
    deferred = Delivery.objects.values().get(issue=issue)
    assert deferred["reason"] == "relay"
    assert decide(held_row(issue), Decision.RESEND, actor=EDITOR) is False
    assert Delivery.objects.values().get(issue=issue) == deferred
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("decision", "settled"),
    [(Decision.ACCEPT, False), (Decision.DROP, False), *((decision, True) for decision in Decision)],
)
def test_only_a_held_row_can_be_decided(decision: Decision, settled: bool) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue = start(newsletter)
    if settled:
        settle(permit(claim(issue)[0]), "sent")
    with pytest.raises(ConflictError, match="only a held one") as caught:
        decide(held_row(issue), decision, actor=EDITOR)
    assert caught.value.code == "delivery_not_held"
    assert not AuditEntry.objects.exists()


def test_nothing_of_a_cancelled_issue_is_sent_again() -> None:
    issue = make_held(2)
    sending.cancel(issue.pk)
    with pytest.raises(ConflictError) as caught:
        decide(held_row(issue), Decision.RESEND, actor=EDITOR)
    assert caught.value.code == "issue_not_resendable"
    with pytest.raises(ConflictError, match="is cancelled"):
        decide_all(issue.pk, Decision.RESEND, actor=EDITOR)
    assert states(issue) == {"held": 2}


def test_a_paused_issue_stays_paused_when_a_row_of_it_is_resent() -> None:
    issue = make_held()
    sending.pause(issue.pk)
    decide(held_row(issue), Decision.RESEND, actor=EDITOR)
    assert (issue_state(issue), states(issue)) == ("paused", {"queued": 1})


def test_all_held_rows_of_an_issue_are_decided_at_once_with_one_entry() -> None:
    issue = make_held(3, sent=2)
    assert decide_all(issue.pk, Decision.DROP, actor=EDITOR) == 3
    assert decide_all(issue.pk, Decision.DROP, actor=EDITOR) == 0
    assert states(issue) == {"cancelled": 3, "sent": 2}
    entry = AuditEntry.objects.get()
    assert (entry.object_id, entry.detail) == (issue.uid, {"deliveries": 3})


def test_a_resent_reader_who_is_gone_ends_suppressed() -> None:
    issue = make_held()
    subscription = held_row(issue).subscription
    assert subscription is not None
    erase_subscriber(subscription.subscriber)
    decide(held_row(issue), Decision.RESEND, actor=EDITOR)
    (row,) = claim(issue)
    settle(gate_of(row), "suppressed", reason="erased")
    assert states(issue) == {"suppressed": 1}


def test_a_late_250_of_the_attempt_before_still_counts() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue = start(newsletter)
    gate = permit(claim(issue)[0])
    Delivery.objects.update(state="held", lease_token=None, lease_until=None, uncertain=True)
    decide(held_row(issue), Decision.RESEND, actor=EDITOR)
    settle(gate, "sent")
    assert states(issue) == {"sent": 1}


@pytest.mark.django_db(transaction=True)
def test_a_held_row_of_a_sent_issue_is_resent_and_the_issue_is_sent_again(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = send(newsletter)
    settle(permit(claim(issue, 1)[0]), "held", uncertain=1, reason="uncertain")
    relay = ScriptedRelay()
    deliver(issue, relay)
    assert rescue.finish_issues() == 1
    first = Issue.objects.get(pk=issue.pk)
    row = held_row(issue)
    assert (first.state, measure(issue).held, measure(issue).accounted) == ("sent", 1, True)
    assert decide(row, Decision.RESEND, actor=EDITOR) is True
    opened = Issue.objects.get(pk=issue.pk)
    assert (opened.state, opened.finished_at, measure(issue).accounted) == ("sending", None, True)
    assert rescue.finish_issues() == 0
    deliver(issue, relay)
    assert rescue.finish_issues() == 1
    ended = Issue.objects.get(pk=issue.pk)
    assert (ended.state, states(issue), measure(issue).accounted) == ("sent", {"sent": 3}, True)
    assert ended.active_time > first.active_time
    # The mails of the others, then this one, with the Message-ID that lists show.
    assert f"Message-ID: {message_id(row)}\r\n".encode() in relay.bodies[-1]
