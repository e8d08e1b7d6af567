"""The reply table and the retry schedule of the design."""

from __future__ import annotations

import pytest

from newsletters.delivery.replies import (
    SCHEDULE,
    Phase,
    Reply,
    Suppress,
    Verdict,
    classify,
    cut,
    delay_after,
    read_reply,
)


@pytest.mark.parametrize("status", ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"])
def test_an_address_that_does_not_exist_is_suppressed(status: str) -> None:
    outcome = classify(Phase.RCPT, Reply(550, status, ""))
    assert (outcome.verdict, outcome.suppress) == (Verdict.BOUNCED, Suppress.NOW)


@pytest.mark.parametrize("code", [550, 551, 553])
def test_a_bare_refusal_of_the_mailbox_is_suppressed(code: int) -> None:
    assert classify(Phase.RCPT, read_reply(code, b"no")).suppress is Suppress.NOW


@pytest.mark.parametrize("status", ["5.2.1", "5.2.2"])
def test_a_disabled_or_full_mailbox_is_suppressed_after_three_issues(status: str) -> None:
    outcome = classify(Phase.RCPT, Reply(552, status, ""))
    assert (outcome.verdict, outcome.suppress) == (Verdict.BOUNCED, Suppress.AFTER_THREE_ISSUES)


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA, Phase.DOT])
@pytest.mark.parametrize(
    ("code", "status"), [(550, "5.7.1"), (554, "5.7.26"), (552, "5.3.4"), (554, None), (500, None)]
)
def test_policy_never_suppresses(phase: Phase, code: int, status: str | None) -> None:
    outcome = classify(phase, Reply(code, status, ""))
    assert (outcome.verdict, outcome.suppress) == (Verdict.BOUNCED, Suppress.NEVER)


@pytest.mark.parametrize("phase", [Phase.DATA, Phase.DOT])
def test_only_rcpt_can_blame_the_mailbox(phase: Phase) -> None:
    assert classify(phase, Reply(550, "5.1.1", "")).suppress is Suppress.NEVER


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.MAIL])
@pytest.mark.parametrize(("code", "permanent"), [(421, False), (451, False), (535, True), (554, True)])
def test_before_rcpt_every_failure_is_the_relays(phase: Phase, code: int, permanent: bool) -> None:
    outcome = classify(phase, Reply(code, None, ""))
    assert (outcome.verdict, outcome.permanent) == (Verdict.RELAY_FAULT, permanent)


def test_only_a_cut_after_the_dot_is_uncertain() -> None:
    verdicts = {phase: cut(phase, "connection_cut").verdict for phase in Phase}
    assert verdicts == {
        Phase.CONNECT: Verdict.RELAY_FAULT,
        Phase.MAIL: Verdict.RELAY_FAULT,
        Phase.RCPT: Verdict.DEFERRED,
        Phase.DATA: Verdict.DEFERRED,
        Phase.BODY: Verdict.DEFERRED,
        Phase.DOT: Verdict.UNCERTAIN,
    }


def test_the_schedule_lasts_about_four_days_and_jitters_by_a_fifth() -> None:
    assert 4 * 86_400 <= sum(SCHEDULE) <= 5 * 86_400
    for attempts, seconds in enumerate(SCHEDULE, start=1):
        delays = [delay_after(attempts) for _ in range(200)]
        assert all(delay is not None and seconds * 0.8 <= delay <= seconds * 1.2 for delay in delays)
        assert len(set(delays)) > 100
    assert delay_after(len(SCHEDULE) + 1) is None


def test_reply_text_is_printable_and_bounded() -> None:
    reply = read_reply(550, b"5.1.1 \xffno\x00body\x1b[31m " + b"x" * 1000)
    assert reply.status == "5.1.1"
    assert reply.text.isprintable()
    assert len(reply.text) <= 500
