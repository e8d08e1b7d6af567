"""However many workers there are and however long a relay takes to refuse, an issue costs it few attempts."""

from __future__ import annotations

import asyncio
import dataclasses
import socket

import pytest

from newsletters.delivery import smtp, trials
from newsletters.delivery.compose import Mail
from newsletters.delivery.courier import Courier
from newsletters.delivery.editions import look_at
from newsletters.delivery.replies import Outcome, Phase, Verdict
from newsletters.delivery.smtp import Relay
from newsletters.delivery.transaction import SmtpConnection
from newsletters.models import Delivery, Issue, IssueState
from newsletters.publishing import sending
from tests.cast import make_newsletter, make_reader, make_readers
from tests.delivery.acts import LIMITS, Deliver, send, states
from tests.delivery.crowd_acts import serve_with
from tests.delivery.scripted_relay import SILENT, ScriptedRelay
from tests.delivery.site_acts import issue_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]
UNPACED = dataclasses.replace(LIMITS, pacing=False, slice_seconds=30)
WORKERS = 24
BAR = 20


class SlowRelay(ScriptedRelay):
    """Takes its time before it refuses."""

    async def _say(self, writer: asyncio.StreamWriter, phase: str) -> None:
        if phase in self.answers:
            await asyncio.sleep(1)
        await super()._say(writer, phase)


def serve(
    loop: asyncio.AbstractEventLoop,
    issue: Issue,
    relay: ScriptedRelay,
    *,
    workers: int = WORKERS,
    rounds: int = 6,
    terms: Relay | None = None,
) -> None:
    serve_with(loop, issue, relay, couriers=workers, limits=UNPACED, rounds=rounds, terms=terms)


@pytest.mark.parametrize(
    "answers",
    [{"banner": "554 5.7.1 blocked"}, {"mail": "550 5.7.1 refused"}, {"auth": "535 5.7.8 wrong"}],
    ids=["banner", "mail", "password"],
)
def test_a_relay_that_takes_long_to_refuse_is_asked_no_more_than_the_bar(
    loop: asyncio.AbstractEventLoop, answers: dict[str, str]
) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 100)
    issue, relay = send(newsletter), SlowRelay(answers, extensions=("AUTH PLAIN",))
    terms = Relay("127.0.0.1", 0, username="courant", password="wrong") if "auth" in answers else None
    serve(loop, issue, relay, terms=terms)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.PAUSED, "relay_refused")
    tries = sum(line.startswith("MAIL") for line in relay.commands) if "mail" in answers else relay.connections
    assert 5 <= tries <= BAR
    assert states(issue) == {"queued": 100}
    assert not Delivery.objects.filter(attempts__gt=0).exists()
    sending.resume(issue.pk)
    serve(loop, issue, ScriptedRelay(), workers=6, rounds=10)
    assert states(issue) == {"sent": 100}


def test_refusals_of_the_content_pause_the_issue_for_all_workers(loop: asyncio.AbstractEventLoop) -> None:
    issue = issue_for(100, domains=["a.example", "b.example"])
    relay = ScriptedRelay({"dot": "554 5.7.1 policy"})
    serve(loop, issue, relay, rounds=2)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.PAUSED, "policy_refusals")


@pytest.mark.parametrize("fault", ["reset", "no such host", "silent handshake"])
def test_a_relay_that_cannot_be_reached_costs_nobody_an_attempt_and_pauses_nothing(
    loop: asyncio.AbstractEventLoop, fault: str
) -> None:
    smtp._tls_context.cache_clear()
    newsletter = make_newsletter()
    make_readers(newsletter, 20)
    issue, relay = send(newsletter), ScriptedRelay({"banner": SILENT})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        terms = {
            "reset": Relay("127.0.0.1", closed.getsockname()[1]),
            "no such host": Relay("relay.invalid", 0),
            "silent handshake": Relay("127.0.0.1", 0, use_tls=True, connect_seconds=0.2),
        }[fault]
        serve(loop, issue, relay, workers=6, rounds=4, terms=terms)
    issue.refresh_from_db()
    assert (issue.state, issue.relay_faults, issue.relay_trials) == (IssueState.SENDING, 0, 0)
    assert states(issue) == {"queued": 20}
    serve(loop, issue, ScriptedRelay(), workers=6, rounds=2)
    assert set(Delivery.objects.values_list("state", "attempts")) == {("sent", 1)}


def test_places_are_few_and_those_of_killed_workers_are_void_after_a_while() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = send(newsletter)
    taken = [trials.reserve(issue.pk) for _ in range(trials.MOST_TRIALS + 2)]
    assert taken == [True] * trials.MOST_TRIALS + [False] * 2
    standing = look_at(issue.pk)
    assert standing is not None
    assert not standing.may_try
    trials.give_back(issue.pk)
    assert [trials.reserve(issue.pk), trials.reserve(issue.pk)] == [True, False]
    Issue.objects.update(trials_at="2020-01-01T00:00:00Z")
    standing = look_at(issue.pk)
    assert standing is not None
    assert standing.may_try
    assert trials.reserve(issue.pk)
    issue.refresh_from_db()
    assert issue.relay_trials == 1
    trials.forget(issue.pk)
    sending.pause(issue.pk)
    assert not trials.reserve(issue.pk)


def test_a_mail_that_was_never_tried_proves_no_relay(deliver: Deliver, monkeypatch: pytest.MonkeyPatch) -> None:
    async def need_utf8(connection: SmtpConnection, mail: Mail) -> Outcome:
        return Outcome(Verdict.BOUNCED, Phase.RCPT, None, "smtputf8_not_offered")

    monkeypatch.setattr(SmtpConnection, "send", need_utf8)
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = send(newsletter)
    courier = deliver(issue, ScriptedRelay())
    issue.refresh_from_db()
    assert states(issue) == {"bounced": 1}
    assert (courier._relay.proven, courier._trials.proven(issue.pk), issue.relay_trials) == (False, False, 0)


def test_an_issue_goes_out_by_one_lane_until_its_own_first_mail_is_through(deliver: Deliver) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 40)
    issue, relay = send(newsletter), SlowRelay({"mail": "550 5.7.1 this sender no"})

    def prove(courier: Courier) -> None:
        # By another issue.
        courier._relay.succeed()

    deliver(issue, relay, limits=UNPACED, before=prove)
    assert sum(line.startswith("MAIL") for line in relay.commands) == 1
