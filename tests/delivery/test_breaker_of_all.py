"""Failures in a row are counted over all processes that deliver an issue."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import time

import pytest
from django.db import connection

from newsletters.delivery import streaks
from newsletters.delivery.breaker import Breaker, Streaks
from newsletters.delivery.courier import Courier
from newsletters.delivery.replies import Outcome, Phase, Suppress, Verdict, classify, read_reply
from newsletters.delivery.smtp import Relay, connect
from newsletters.models import Delivery, Issue, IssueState, OnUncertain
from newsletters.publishing import sending
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import LIMITS, Deliver, send, states
from tests.delivery.crowd_acts import serve_with
from tests.delivery.scripted_relay import CUT, ScriptedRelay

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]
PROCESSES = 6
# Paced, rows of the one domain would wait for their turn beyond the rounds (test_parked_rows).
UNPACED = dataclasses.replace(LIMITS, pacing=False)


def serve_with_six(loop: asyncio.AbstractEventLoop, issue: Issue, relay: ScriptedRelay, *, rounds: int) -> None:
    crowd = serve_with(loop, issue, relay, couriers=PROCESSES, limits=UNPACED, rounds=rounds)
    assert [len(courier._breakers) for courier in crowd] == [0] * PROCESSES


@pytest.mark.parametrize(
    "answers", [{"banner": "554 5.7.1 blocked"}, {"mail": "550 5.7.1 sender refused"}], ids=["banner", "mail"]
)
def test_six_processes_together_spend_at_most_twenty_attempts_on_a_relay_that_refuses_us(
    loop: asyncio.AbstractEventLoop, answers: dict[str, str]
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 60)
    issue, relay = send(newsletter), ScriptedRelay(answers)
    serve_with_six(loop, issue, relay, rounds=6)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.PAUSED, "relay_refused")
    assert issue.state_detail.startswith(next(iter(answers.values()))[:9])
    tries = sum(command.startswith("MAIL") for command in relay.commands) if "mail" in answers else relay.connections
    assert 5 <= tries <= 20
    assert states(issue) == {"queued": 60}
    assert not Delivery.objects.filter(attempts__gt=0).exists()
    sending.resume(issue.pk)
    # Rows that one courier gives back may come when the others have ended their slice.
    serve_with_six(loop, issue, ScriptedRelay(), rounds=10)
    assert states(issue) == {"sent": 60}


def test_restarts_do_not_begin_the_count_anew(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 10)
    issue, relay = send(newsletter), ScriptedRelay({"banner": "554 5.7.1 blocked"})
    for _ in range(8):
        deliver(issue, relay)
    issue.refresh_from_db()
    assert (issue.state, relay.connections) == (IssueState.PAUSED, 5)


def test_a_relay_that_is_away_for_a_while_pauses_nothing_and_counts_no_attempt(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 10)
    issue = send(newsletter)
    deliver(issue, ScriptedRelay({"banner": "421 4.3.2 busy"}), rounds=12)
    issue.refresh_from_db()
    assert (issue.state, issue.relay_faults, states(issue)) == (IssueState.SENDING, 0, {"queued": 10})
    deliver(issue, ScriptedRelay())
    assert set(Delivery.objects.values_list("state", "attempts")) == {("sent", 1)}


def test_a_mail_that_goes_through_ends_what_other_processes_counted(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = send(newsletter)
    streaks.tell(issue.pk, Streaks(relay=4, policy=2, domains={"a.example"}), succeeded_at=None)
    deliver(issue, ScriptedRelay())
    issue.refresh_from_db()
    assert (issue.state, issue.relay_faults, issue.policy_refusals, issue.policy_domain) == ("sending", 0, 0, "")


def test_a_success_from_before_the_failures_of_others_does_not_erase_them() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue = send(newsletter)
    sent, refused = Outcome(Verdict.SENT, Phase.DOT, None), classify(Phase.MAIL, read_reply(550, b"5.7.1 no"))
    workers = [Breaker() for _ in range(5)]
    for worker in workers:
        worker.note(sent, "a.example")
    counts = []
    for worker in workers:
        worker.note(refused, "a.example")
        counted = streaks.tell(issue.pk, worker.untold, succeeded_at=worker.succeeded_at)
        assert counted is not None
        counts.append((counted.relay, counted.why_stop()))
    assert counts == [(1, None), (2, None), (3, None), (4, None), (5, "relay_refused")]
    # A mail that goes through now ends them.
    ended = streaks.tell(issue.pk, Streaks(relay=1), succeeded_at=time.monotonic())
    assert ended == Streaks(relay=1)


def test_a_worker_that_knows_of_no_count_tells_of_no_success() -> None:
    breaker = Breaker()
    breaker.note(Outcome(Verdict.SENT, Phase.DOT, None), "a.example")
    assert not breaker.has_news
    breaker.counted = True
    assert not breaker.has_news
    breaker.note(Outcome(Verdict.SENT, Phase.DOT, None), "a.example")
    assert breaker.has_news


def test_policy_refusals_add_up_and_remember_whether_they_met_two_domains() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue = send(newsletter)
    for _ in range(4):
        counted = streaks.tell(issue.pk, Streaks(policy=1, domains={"a.example"}), succeeded_at=None)
    assert counted is not None
    assert (counted.policy, counted.why_stop()) == (4, None)
    again = streaks.tell(issue.pk, Streaks(policy=1, domains={"a.example"}), succeeded_at=None)
    assert again is not None
    assert (again.policy, again.why_stop()) == (5, None)
    other = streaks.tell(issue.pk, Streaks(policy=1, domains={"b.example"}), succeeded_at=None)
    assert other is not None
    assert other.why_stop() == "policy_refusals"
    sending.pause(issue.pk)
    assert streaks.tell(issue.pk, Streaks(relay=1), succeeded_at=None) is None


def test_addresses_that_the_relay_cannot_write_do_not_speak_against_the_content() -> None:
    breaker = Breaker()
    for number in range(8):
        outcome = Outcome(Verdict.BOUNCED, Phase.RCPT, None, "smtputf8_not_offered", Suppress.NEVER)
        breaker.note(outcome, f"{number % 2}.example")
    assert (breaker.tripped, breaker.has_news) == (None, False)
    for number in range(5):
        breaker.note(Outcome(Verdict.BOUNCED, Phase.RCPT, None, "policy"), f"{number % 2}.example")
    assert breaker.tripped == "policy_refusals"


def test_what_to_do_with_uncertain_mails_may_change_while_an_issue_is_being_sent(
    loop: asyncio.AbstractEventLoop,
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 1)
    issue, relay = send(newsletter), ScriptedRelay({"rcpt": "450 4.7.1 later"})

    async def converse() -> None:
        async with relay.running():
            courier = Courier(loop, LIMITS, functools.partial(connect, Relay("127.0.0.1", relay.port)))
            courier.start()
            await courier.serve(issue.pk)
            await loop.run_in_executor(None, hold)
            relay.answers["rcpt"] = "250 ok"
            relay.answers["dot"] = CUT
            await courier.serve(issue.pk)
            await loop.run_in_executor(None, courier.stop)
            await asyncio.sleep(0.02)

    def hold() -> None:
        type(newsletter).objects.update(on_uncertain=OnUncertain.HOLD)
        Delivery.objects.update(next_at="2020-01-01T00:00:00Z")
        connection.close()

    asyncio.run_coroutine_threadsafe(converse(), loop).result(timeout=600)
    assert states(issue) == {"held": 1}
