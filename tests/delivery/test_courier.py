"""The sending loop on a real event loop, database and SMTP conversation."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import connection

from newsletters.delivery import edition_shelf, rescue
from newsletters.delivery.breaker import PERMANENT_RELAY_FAULTS
from newsletters.delivery.compose import Mail, Recipient, Template
from newsletters.delivery.courier import Courier
from newsletters.delivery.replies import Phase, classify, read_reply
from newsletters.delivery.smtp import Connection, RelayFaultError
from newsletters.models import Delivery, Issue, IssueState, Subscription, Suppression
from newsletters.publishing import sending
from newsletters.publishing.progress import measure
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import LIMITS, Deliver, claim, expire_leases, permit, send, states
from tests.delivery.scripted_relay import CUT, ScriptedRelay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]


def test_every_reader_of_an_issue_gets_one_mail(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 200)
    issue, relay = send(newsletter), ScriptedRelay()
    deliver(issue, relay)
    assert states(issue) == {"sent": 200}
    assert len(relay.bodies) == 200
    assert {body.split(b"To: ")[1].split(b"\r\n")[0] for body in relay.bodies} == {
        f"reader-{number}@example.org".encode() for number in range(1, 201)
    }
    assert 1 < relay.connections <= LIMITS.lanes
    assert rescue.finish_issues() == 1


def test_who_left_after_the_start_gets_no_mail_and_is_accounted_for(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    readers = make_readers(newsletter, 3)
    issue, relay = send(newsletter), ScriptedRelay()
    Subscription.objects.filter(pk=readers[1].pk).update(state="unsubscribed")
    deliver(issue, relay)
    progress = measure(issue)
    assert (progress.sent, progress.suppressed, progress.accounted) == (2, 1, True)
    assert Delivery.objects.get(issue=issue, state="suppressed").reason == "unsubscribed"


def test_nobody_outside_the_allow_list_gets_a_mail(deliver: Deliver, settings: pytest.FixtureRequest) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    settings.RECIPIENT_ALLOW_LIST = ("reader-2@example.org",)  # type: ignore[attr-defined]
    issue, relay = send(newsletter), ScriptedRelay()
    deliver(issue, relay)
    assert states(issue) == {"sent": 1, "suppressed": 2}
    assert set(Delivery.objects.filter(state="suppressed").values_list("reason", flat=True)) == {"not_on_allow_list"}


def test_a_bounce_suppresses_the_address_and_the_next_issue_skips_it(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue = send(newsletter)
    deliver(issue, ScriptedRelay({"rcpt": "550 5.1.1 nobody"}))
    row = Delivery.objects.get(issue=issue)
    assert (row.state, row.reason, row.reply_status) == ("bounced", "no_such_mailbox", "5.1.1")
    assert Suppression.objects.count() == 1
    following, relay = send(newsletter), ScriptedRelay()
    deliver(following, relay)
    assert (Delivery.objects.get(issue=following).reason, relay.bodies) == ("suppressed", [])


def test_a_temporary_refusal_waits_for_its_schedule(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue = send(newsletter)
    deliver(issue, ScriptedRelay({"rcpt": "450 4.7.1 greylisted"}), rounds=3)
    row = Delivery.objects.get(issue=issue)
    assert (row.state, row.attempts, row.uncertain) == ("queued", 1, False)
    assert (row.next_at - row.created_at).total_seconds() > 200


def test_a_link_cut_after_the_dot_is_flagged_and_the_second_holds_the_row(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue, relay = send(newsletter), ScriptedRelay({"dot": CUT})
    deliver(issue, relay)
    row = Delivery.objects.get(issue=issue)
    assert (row.state, row.uncertain, row.uncertain_outcomes) == ("queued", True, 1)
    Delivery.objects.filter(pk=row.pk).update(next_at=row.created_at)
    deliver(issue, relay)
    row.refresh_from_db()
    assert (row.state, row.reason, row.uncertain_outcomes) == ("held", "uncertain", 2)
    assert relay.bodies[0] == relay.bodies[1]


@pytest.mark.parametrize(
    "answers", [{"banner": "554 5.7.1 blocked"}, {"mail": "550 5.7.1 sender refused"}], ids=["banner", "mail"]
)
def test_a_relay_that_refuses_us_pauses_the_issue_and_blames_no_reader(
    deliver: Deliver, answers: dict[str, str]
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 40)
    issue, relay = send(newsletter), ScriptedRelay(answers)
    deliver(issue, relay, rounds=PERMANENT_RELAY_FAULTS + 3)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.PAUSED, "relay_refused")
    assert issue.state_detail.startswith(next(iter(answers.values()))[:9])
    assert relay.connections <= 20
    assert states(issue) == {"queued": 40}
    assert not Delivery.objects.filter(attempts__gt=0).exists()


def test_many_issues_that_the_relay_refuses_are_each_paused(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edition_shelf, "EDITIONS_KEPT", 2)
    issues, attempts = [], []
    for _ in range(4):
        newsletter = make_newsletter()
        make_readers(newsletter, 2)
        issues.append(send(newsletter))

    async def refuse() -> Connection:
        attempts.append(1)
        raise RelayFaultError(classify(Phase.CONNECT, read_reply(554, b"5.7.1 blocked")))

    async def serve_all() -> None:
        courier = Courier(loop, LIMITS, refuse)
        courier.start()
        for _ in range(PERMANENT_RELAY_FAULTS):
            for issue in issues:
                courier._relay._rest_until = 0
                await courier.serve(issue.pk)
        await loop.run_in_executor(None, courier.stop)

    asyncio.run_coroutine_threadsafe(serve_all(), loop).result(timeout=600)
    assert list(Issue.objects.values_list("state", "state_reason")) == [(IssueState.PAUSED, "relay_refused")] * 4
    assert len(attempts) == 4 * PERMANENT_RELAY_FAULTS


def test_five_uncertain_outcomes_in_a_row_pause_the_issue(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 30)
    issue = send(newsletter)
    deliver(issue, ScriptedRelay({"dot": CUT}))
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.PAUSED, "uncertain_outcomes")
    # At most what was already past the gate in the other lanes.
    assert Delivery.objects.filter(uncertain=True).count() <= 5 + LIMITS.lanes


def test_mails_that_cannot_be_composed_block_the_issue_and_stay_accounted_for(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 30)
    issue, relay = send(newsletter), ScriptedRelay()
    compose = Template.compose

    def fail(self: Template, recipient: Recipient) -> Mail:
        raise RuntimeError("the template is broken")

    monkeypatch.setattr(Template, "compose", fail)
    deliver(issue, relay)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason, relay.bodies) == (IssueState.BLOCKED, "composition_failed", [])
    held = Delivery.objects.filter(issue=issue, state="held", reason="composition_failed").count()
    assert 3 <= held <= 3 + LIMITS.lanes
    monkeypatch.setattr(Template, "compose", compose)
    sending.resume(issue.pk)
    deliver(issue, relay)
    assert states(issue) == {"sent": 30 - held, "held": held}


def test_a_mail_that_kills_its_worker_while_it_is_composed_counts_as_a_kill(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = send(newsletter)
    compose, gated = Template.compose, []

    def look(pk: int) -> None:
        gated.append(Delivery.objects.values_list("gated", flat=True).get(pk=pk))
        connection.close()

    def watched(self: Template, recipient: Recipient) -> Mail:
        # What the ledger says now is all that the rescue will know if this process dies here.
        thread = threading.Thread(target=look, args=(recipient.delivery_id,))
        thread.start()
        thread.join()
        return compose(self, recipient)

    monkeypatch.setattr(Template, "compose", watched)
    deliver(issue, ScriptedRelay())
    assert gated == [True] * 3
    assert states(issue) == {"sent": 3}


def test_one_reader_whose_mail_cannot_be_composed_stops_nobody_else(
    deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 30)
    issue = send(newsletter)
    compose = Template.compose

    def fail_for_one(self: Template, recipient: Recipient) -> Mail:
        if recipient.address == "reader-7@example.org":
            raise RuntimeError("odd values")
        return compose(self, recipient)

    monkeypatch.setattr(Template, "compose", fail_for_one)
    deliver(issue, ScriptedRelay())
    assert states(issue) == {"sent": 29, "held": 1}


def test_draining_gives_claimed_rows_back_at_once(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 100)
    issue, relay = send(newsletter), ScriptedRelay()
    relay.on_body = lambda count: courier_seen[0].drain() if count == 10 else None
    courier_seen: list[Courier] = []
    deliver(issue, relay, before=courier_seen.append)
    found = states(issue)
    assert set(found) == {"sent", "queued"}
    assert 10 <= found["sent"] <= 10 + 2 * LIMITS.lanes
    assert found["sent"] == len(relay.bodies)


def test_pausing_stops_within_the_mails_in_flight(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 300)
    issue, relay = send(newsletter), ScriptedRelay()
    paused_at: list[int] = []
    pausing = threading.Thread(target=_pause_and_note, args=(issue.pk, relay, paused_at))

    def pause_at_fifty(count: int) -> None:
        if count == 50:
            pausing.start()
        if count == 250:
            # However slow the pause is, it comes before the end.
            pausing.join()

    relay.on_body = pause_at_fifty
    deliver(issue, relay)
    assert paused_at
    assert len(relay.bodies) - paused_at[0] <= LIMITS.lanes
    assert states(issue) == {"sent": len(relay.bodies), "queued": 300 - len(relay.bodies)}
    sending.resume(issue.pk)
    deliver(issue, relay)
    assert states(issue) == {"sent": 300}
    assert len(set(relay.bodies)) == 300


def _pause_and_note(pk: int, relay: ScriptedRelay, paused_at: list[int]) -> None:
    sending.pause(pk)
    paused_at.append(len(relay.bodies))
    connection.close()


def test_suspects_run_alone_and_then_the_others_follow(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 20)
    issue, relay = send(newsletter), ScriptedRelay()
    for row in claim(issue, 3):
        permit(row)
    expire_leases()
    rescue.reclaim_dead_leases()
    deliver(issue, relay)
    assert states(issue) == {"sent": 20}
    assert Delivery.objects.filter(uncertain=True, state="sent").count() == 3
    suspects = {f"reader-{number}@example.org".encode() for number in (1, 2, 3)}
    first = {body.split(b"To: ")[1].split(b"\r\n")[0] for body in relay.bodies[:3]}
    assert first == suspects
