"""Claim, gate and settle mean the same on PostgreSQL and on SQLite."""

from __future__ import annotations

import uuid

import pytest

from newsletters.audience.subscribing import erase_subscriber
from newsletters.delivery.dialects import Settlement, dialect
from newsletters.models import (
    Delivery,
    DeliveryState,
    Issue,
    IssueState,
    Subscription,
    SubscriptionState,
    Suppression,
)
from tests.cast import ADA, BORIS, make_newsletter, make_reader, make_readers
from tests.delivery.acts import claim, gate_of, permit, row_of, settle, start

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def test_a_claim_leases_due_rows_in_order_and_takes_none_twice() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 5)
    issue = start(newsletter)
    first, second, third = claim(issue, 3), claim(issue, 3), claim(issue, 3)
    assert [len(first), len(second), len(third)] == [3, 2, 0]
    assert [row.address for row in first] == [f"reader-{n}@example.org" for n in (1, 2, 3)]
    row = row_of(first[0].delivery_id)
    assert (row.state, row.lease_token, row.gated) == (DeliveryState.SENDING, first[0].lease_token, False)


def test_a_claim_takes_nothing_of_a_paused_issue() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    assert Issue.objects.filter(pk=issue.pk).move([IssueState.SENDING], IssueState.PAUSED)
    assert claim(issue) == []


def test_the_gate_writes_an_intent_and_sent_settles_by_it() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    gate = permit(row)
    gated = row_of(row.delivery_id)
    assert gated.gated
    assert gated.intent_id == gate.intent_id
    assert gated.intent_at is not None
    settle(gate, "sent", counted=1, reply_phase="dot", reply_code=250, reply_text="2.0.0 queued")
    sent = row_of(row.delivery_id)
    assert (sent.state, sent.attempts, sent.reply_code, sent.reply_phase) == ("sent", 1, 250, "dot")
    assert sent.settled_at is not None
    assert sent.lease_token is None


def test_sent_does_not_need_the_lease_while_nobody_was_permitted_since() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    gate = permit(row)
    Delivery.objects.filter(pk=row.delivery_id).update(state="queued", lease_token=None, lease_until=None)
    (again,) = claim(issue)
    settle(gate, "sent")
    assert row_of(row.delivery_id).state == "sent"
    assert dialect().turn([], [gate_of(again)]) == set()


def test_sent_with_a_superseded_intent_settles_nothing() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    old = permit(row)
    permit(row)
    settle(old, "sent")
    assert row_of(row.delivery_id).state == "sending"


@pytest.mark.parametrize("state", ["queued", "bounced", "expired", "suppressed", "cancelled", "held"])
def test_every_other_outcome_needs_the_lease(state: str) -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    gate = permit(row)
    stranger = Settlement(row.delivery_id, uuid.uuid4(), gate.intent_id, state)
    dialect().turn([stranger], [])
    assert row_of(row.delivery_id).state == "sending"
    settle(gate, state)
    assert row_of(row.delivery_id).state == state


def test_a_final_row_is_never_moved_again() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    gate = permit(row)
    settle(gate, "bounced", reason="policy")
    settle(gate, "sent")
    assert (row_of(row.delivery_id).state, row_of(row.delivery_id).reason) == ("bounced", "policy")


def test_a_deferred_row_waits_for_its_time_and_keeps_the_reply() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    settle(permit(row), "queued", delay=3600, counted=1, reason="deferred", reply_phase="rcpt", reply_code=451)
    waiting = row_of(row.delivery_id)
    assert (waiting.state, waiting.attempts, waiting.reply_code, waiting.settled_at) == ("queued", 1, 451, None)
    assert 3590 < (waiting.next_at - issue.started_at).total_seconds() < 3660  # type: ignore[operator]
    assert claim(issue) == []


def test_a_released_row_is_due_at_once_and_forgets_nothing() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    settle(permit(row), "queued", counted=1, reason="deferred", reply_phase="rcpt", reply_code=451)
    (row,) = claim(issue)
    settle(gate_of(row), "queued")
    released = row_of(row.delivery_id)
    assert (released.reason, released.reply_code, released.attempts) == ("deferred", 451, 1)
    assert len(claim(issue)) == 1


def test_settle_and_gate_go_in_one_turn_settle_first() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    issue = start(newsletter)
    one, two = claim(issue)
    gate = permit(one)
    done = Settlement(one.delivery_id, one.lease_token, gate.intent_id, "sent")
    # The same row is asked for once more: the settlement must win, whoever asks.
    assert dialect().turn([done], [gate_of(one), gate_of(two)]) == {two.delivery_id}
    assert row_of(one.delivery_id).state == "sent"


def test_the_gate_refuses_who_left_who_is_suppressed_and_who_is_gone() -> None:
    newsletter = make_newsletter()
    left, suppressed, erased, lost = make_readers(newsletter, 4)
    issue = start(newsletter)
    rows = {row.subscription_id: row for row in claim(issue)}
    Subscription.objects.filter(pk=left.pk).update(state=SubscriptionState.UNSUBSCRIBED)
    Suppression.objects.create(
        publisher=newsletter.publisher, address_digest=suppressed.subscriber.address_digest, reason="bounced"
    )
    erased.subscriber.delete()
    Delivery.objects.filter(subscription=lost).update(lease_token=uuid.uuid4())
    gates = [gate_of(row) for row in rows.values()]
    assert dialect().turn([], gates) == set()
    seen = {refused.delivery_id: refused for refused in dialect().refusals(gates)}
    by_left, by_suppressed, by_erased, by_lost = (seen[rows[pk].delivery_id] for pk in rows)
    assert (by_left.held, by_left.subscription_state, by_left.suppressed) == (True, "unsubscribed", False)
    assert by_suppressed.suppressed
    assert by_erased.subscription_state is None
    assert not by_lost.held


def test_erasing_a_subscriber_keeps_the_ledger_row() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    issue = start(newsletter)
    reader.subscriber.delete()
    row = Delivery.objects.get(issue=issue)
    assert row.subscription_id is None


@pytest.mark.parametrize(("suppress_after", "issues", "suppressed"), [(1, 1, True), (3, 2, False), (3, 3, True)])
def test_a_bounce_suppresses_after_its_number_of_issues(suppress_after: int, issues: int, suppressed: bool) -> None:
    newsletter = make_newsletter()
    make_reader(newsletter, address=ADA)
    for _ in range(issues):
        (row,) = claim(start(newsletter))
        settle(permit(row), "bounced", reason="mailbox_unable", suppress_after=suppress_after)
    assert Suppression.objects.filter(publisher=newsletter.publisher).exists() is suppressed


def test_a_lost_bounce_suppresses_nobody() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter, address=BORIS)
    (row,) = claim(start(newsletter))
    stale = Settlement(row.delivery_id, uuid.uuid4(), uuid.uuid4(), "bounced", suppress_after=1)
    dialect().turn([stale], [])
    assert not Suppression.objects.exists()


def test_renewing_prolongs_only_leases_still_held() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    issue = start(newsletter)
    mine, lost = claim(issue, lease_seconds=10)
    before = row_of(mine.delivery_id).lease_until
    dialect().renew({mine.delivery_id: mine.lease_token, lost.delivery_id: uuid.uuid4()}, lease_seconds=600)
    after, untouched = row_of(mine.delivery_id).lease_until, row_of(lost.delivery_id).lease_until
    assert before is not None
    assert after is not None
    assert (after - before).total_seconds() > 500
    assert untouched == before


def test_suspects_are_claimed_apart_from_the_others() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = start(newsletter)
    suspect = Delivery.objects.filter(issue=issue).latest("pk")
    Delivery.objects.filter(pk=suspect.pk).update(kills=1)
    assert suspect.pk not in {row.delivery_id for row in claim(issue)}
    assert [row.delivery_id for row in claim(issue, suspects=True)] == [suspect.pk]


def test_a_reply_that_comes_after_the_erasure_is_not_quoted() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    (row,) = claim(start(newsletter))
    gate = permit(row)
    erase_subscriber(reader.subscriber)
    settle(gate, "bounced", reply_phase="rcpt", reply_code=550, reply_text=f"5.1.1 <{row.address}> is unknown")
    found = row_of(row.delivery_id)
    assert (found.state, found.reply_code, found.reply_text) == ("bounced", 550, None)
