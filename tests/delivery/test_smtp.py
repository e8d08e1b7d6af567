"""Each way a relay can answer, in each phase, is told apart: above all before and after the final dot."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import pytest

from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome, Phase, Suppress, Verdict
from newsletters.delivery.smtp import Relay, RelayFaultError, connect
from newsletters.delivery.transaction import SmtpConnection
from tests.delivery.links import run
from tests.delivery.scripted_relay import CUT, SILENT, ScriptedRelay

T = TypeVar("T")
MAIL = Mail("bounces+x@gazette.example", "ada@example.org", b"Subject: hi\r\n\r\n.leading dot\r\nend\r\n")


def attempt(relay: ScriptedRelay) -> Outcome:
    return run(relay, lambda connection: connection.send(MAIL))


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_mail_arrives_byte_for_byte_and_the_connection_takes_another(pipelining: bool) -> None:
    relay = ScriptedRelay(pipelining=pipelining)

    async def twice(connection: SmtpConnection) -> tuple[Outcome, Outcome, bool]:
        return await connection.send(MAIL), await connection.send(MAIL), connection.usable

    first, second, usable = run(relay, twice)
    assert (first.verdict, second.verdict, usable) == (Verdict.SENT, Verdict.SENT, True)
    assert relay.bodies == [MAIL.data, MAIL.data]
    assert relay.connections == 1
    assert relay.commands[1:3] == ["MAIL FROM:<bounces+x@gazette.example>", "RCPT TO:<ada@example.org>"]


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("phase", "reply", "verdict", "reason"),
    [
        ("mail", "451 4.3.0 later", Verdict.RELAY_FAULT, "relay_refused"),
        ("mail", "550 5.7.1 not you", Verdict.RELAY_FAULT, "relay_refused"),
        ("rcpt", "450 4.2.1 busy", Verdict.DEFERRED, "deferred"),
        ("rcpt", "550 5.1.1 nobody", Verdict.BOUNCED, "no_such_mailbox"),
        ("rcpt", "550 5.7.1 spam", Verdict.BOUNCED, "policy"),
        ("data", "451 4.7.0 slow down", Verdict.DEFERRED, "deferred"),
        ("data", "554 5.7.1 spam", Verdict.BOUNCED, "policy"),
        ("dot", "452 4.3.1 full", Verdict.DEFERRED, "deferred"),
        ("dot", "554 5.6.0 bad content", Verdict.BOUNCED, "policy"),
        ("dot", "250 2.0.0 queued", Verdict.SENT, None),
    ],
)
def test_a_reply_means_what_the_table_says(
    phase: str, reply: str, verdict: Verdict, reason: str | None, pipelining: bool
) -> None:
    outcome = attempt(ScriptedRelay({phase: reply}, pipelining=pipelining))
    assert (outcome.verdict, outcome.reason, outcome.phase) == (verdict, reason, Phase(phase))
    assert outcome.reply is not None
    assert outcome.reply.code == int(reply[:3])


def test_a_refusal_leaves_the_connection_fit_for_the_next_mail() -> None:
    relay = ScriptedRelay({"rcpt": "550 5.1.1 nobody", "data": "503 no recipients"})

    async def refuse_then_accept(connection: SmtpConnection) -> tuple[Verdict, bool, Verdict]:
        refused = await connection.send(MAIL)
        usable = connection.usable
        relay.answers.clear()
        return refused.verdict, usable, (await connection.send(MAIL)).verdict

    assert run(relay, refuse_then_accept) == (Verdict.BOUNCED, True, Verdict.SENT)
    assert "RSET" in relay.commands


def test_a_relay_that_wants_a_body_after_refusing_the_reader_gets_an_empty_one() -> None:
    relay = ScriptedRelay({"rcpt": "550 5.1.1 nobody"})
    outcome = attempt(relay)
    assert (outcome.verdict, outcome.suppress) == (Verdict.BOUNCED, Suppress.NOW)
    assert relay.bodies == [b""]


@pytest.mark.parametrize(
    ("phase", "verdict"),
    [
        ("mail", Verdict.RELAY_FAULT),
        ("rcpt", Verdict.DEFERRED),
        ("data", Verdict.DEFERRED),
        ("dot", Verdict.UNCERTAIN),
    ],
)
@pytest.mark.parametrize("trouble", [CUT, SILENT, "999 what", "hello"])
def test_trouble_is_safe_before_the_dot_and_uncertain_after_it(phase: str, verdict: Verdict, trouble: str) -> None:
    async def act(connection: SmtpConnection) -> tuple[Outcome, bool]:
        return await connection.send(MAIL), connection.usable

    outcome, usable = run(ScriptedRelay({phase: trouble}), act, silent=phase if trouble == SILENT else "")
    assert (outcome.verdict, outcome.phase, usable) == (verdict, Phase(phase), False)


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data", "dot"])
def test_421_is_classified_by_its_phase_and_ends_the_connection(phase: str) -> None:
    async def act(connection: SmtpConnection) -> tuple[Outcome, bool]:
        return await connection.send(MAIL), connection.usable

    outcome, usable = run(ScriptedRelay({phase: "421 4.3.2 closing"}), act)
    expected = Verdict.RELAY_FAULT if phase == "mail" else Verdict.DEFERRED
    assert (outcome.verdict, usable) == (expected, False)


@pytest.mark.parametrize(
    ("banner", "permanent"),
    [("554 5.7.1 blocked", True), ("421 4.3.2 later", False), ("554 5.7.1 refus\udce9", True)],
    ids=["permanent", "temporary", "latin-1"],
)
def test_a_refusing_banner_is_a_relay_fault(banner: str, permanent: bool) -> None:
    with pytest.raises(RelayFaultError) as caught:
        attempt(ScriptedRelay({"banner": banner}))
    assert caught.value.outcome.permanent is permanent


def test_nobody_listening_is_a_temporary_relay_fault() -> None:
    async def main() -> None:
        await connect(Relay("127.0.0.1", 1))

    with pytest.raises(RelayFaultError) as caught:
        asyncio.run(main())
    assert not caught.value.outcome.permanent


def test_a_multi_line_reply_in_pieces_is_one_reply() -> None:
    outcome = attempt(ScriptedRelay({"dot": "250-2.0.0 first\r\n250 2.0.0 second"}))
    assert outcome.reply is not None
    assert outcome.reply.text == "2.0.0 first 2.0.0 second"
    assert outcome.reply.status == "2.0.0"


def test_an_endless_reply_is_garbage_and_not_memory() -> None:
    outcome = attempt(ScriptedRelay({"rcpt": "250-" + "x" * 70_000}))
    assert outcome.verdict is Verdict.DEFERRED
