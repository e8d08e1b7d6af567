"""What a relay does in a phase means the same on every kind of link: above all before and after the final dot."""

from __future__ import annotations

import pytest

from newsletters.delivery.replies import Outcome, Phase, Verdict
from newsletters.delivery.transaction import SmtpConnection
from tests.delivery.authority import trust
from tests.delivery.links import LINKS, MAIL, attempt, make_relay, run
from tests.delivery.scripted_relay import CUT, RESET, SILENT

CLOSING, GARBAGE = "421 4.3.2 closing", "hello"
FAULT, DEFERRED, BOUNCED, UNCERTAIN = Verdict.RELAY_FAULT, Verdict.DEFERRED, Verdict.BOUNCED, Verdict.UNCERTAIN
# What the relay does, and what it means at MAIL, RCPT, DATA and the final dot; `usable` afterwards.
MEANINGS = [
    (CUT, (FAULT, DEFERRED, DEFERRED, UNCERTAIN), False),
    (RESET, (FAULT, DEFERRED, DEFERRED, UNCERTAIN), False),
    (SILENT, (FAULT, DEFERRED, DEFERRED, UNCERTAIN), False),
    (GARBAGE, (FAULT, DEFERRED, DEFERRED, UNCERTAIN), False),
    ("999 what", (FAULT, DEFERRED, DEFERRED, UNCERTAIN), False),
    ("334 go on", (FAULT, DEFERRED, DEFERRED, UNCERTAIN), False),
    (CLOSING, (FAULT, DEFERRED, DEFERRED, DEFERRED), False),
    ("450 4.7.1 later", (FAULT, DEFERRED, DEFERRED, DEFERRED), True),
    ("554 5.7.1 never", (FAULT, BOUNCED, BOUNCED, BOUNCED), True),
]
PHASES = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT)
CASES = [
    pytest.param(phase, act, verdict, usable, id=f"{act} at {phase}")
    for act, verdicts, usable in MEANINGS
    for phase, verdict in zip(PHASES, verdicts, strict=True)
]


@pytest.fixture(autouse=True)
def _trust(monkeypatch: pytest.MonkeyPatch) -> None:
    trust(monkeypatch)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(("phase", "act", "verdict", "usable"), CASES)
def test_what_the_relay_does_means_what_the_table_says(
    phase: Phase, act: str, verdict: Verdict, usable: bool, link: str
) -> None:
    outcome, fit = run(make_relay(link, {phase.value: act}), attempt, silent=phase.value if act == SILENT else "")
    assert (outcome.verdict, outcome.phase, fit) == (verdict, phase, usable)


@pytest.mark.parametrize("link", LINKS)
def test_mails_arrive_byte_for_byte_over_one_connection(link: str) -> None:
    relay = make_relay(link)

    async def thrice(connection: SmtpConnection) -> list[Outcome]:
        return [await connection.send(MAIL) for _ in range(3)]

    assert [outcome.verdict for outcome in run(relay, thrice)] == [Verdict.SENT] * 3
    assert relay.bodies == [MAIL.data] * 3
    assert relay.connections == 1


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
def test_after_a_refusal_the_next_mail_goes_through_the_same_connection(phase: str, link: str) -> None:
    relay = make_relay(link, {phase: "450 4.2.0 later"})
    if phase == "mail":
        # A relay that has no sender wants no reader and no body either.
        relay.answers |= {"rcpt": "503 5.5.1 MAIL first", "data": "503 5.5.1 MAIL first"}

    async def refuse_then_accept(connection: SmtpConnection) -> Outcome:
        await connection.send(MAIL)
        relay.answers.clear()
        return await connection.send(MAIL)

    assert run(relay, refuse_then_accept).verdict is Verdict.SENT
    assert (relay.bodies[-1], relay.connections) == (MAIL.data, 1)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("trouble", [CUT, SILENT, CLOSING, GARBAGE, "451 4.3.0 no"])
def test_a_relay_that_cannot_begin_afresh_is_left_with_the_refusal_kept(trouble: str, link: str) -> None:
    answers = {"rcpt": "550 5.1.1 nobody", "data": "503 5.5.1 no", "rset": trouble}
    outcome, usable = run(make_relay(link, answers), attempt, silent="reset" if trouble == SILENT else "")
    assert (outcome.verdict, outcome.reason, usable) == (Verdict.BOUNCED, "no_such_mailbox", False)


@pytest.mark.parametrize("link", [link for link in LINKS if link != "one by one"])
@pytest.mark.parametrize("trouble", [CUT, SILENT, CLOSING, GARBAGE])
def test_a_refused_reader_stays_refused_when_the_link_breaks_at_data(trouble: str, link: str) -> None:
    relay = make_relay(link, {"rcpt": "550 5.1.1 nobody", "data": trouble})
    outcome, usable = run(relay, attempt, silent="data" if trouble == SILENT else "")
    assert (outcome.verdict, outcome.phase, usable) == (Verdict.BOUNCED, Phase.RCPT, False)
