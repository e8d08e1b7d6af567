"""How many mails a process has under way to one domain, and when that must rest."""

from __future__ import annotations

import pytest

from newsletters.delivery.pacing import Known
from newsletters.delivery.replies import Outcome, Phase, Reply, classify, cut
from newsletters.delivery.window import CAP, START, closure_after, says_slow_down
from tests.delivery.pacing_acts import BOUNCED, FULL, KEY, SENT, SLOW, TIMED_OUT, Process

SILENT = [
    FULL,
    cut(Phase.RCPT, "connection_cut"),
    cut(Phase.DOT, "timed_out"),
    cut(Phase.MAIL, "timed_out"),
    classify(Phase.MAIL, Reply(421, "4.7.0", "slow down")),
]


@pytest.mark.parametrize(
    ("code", "status", "attempts", "expected"),
    [
        (421, None, 0, True),
        (421, "4.3.2", 0, True),
        (421, "4.7.1", 0, True),
        (450, "4.7.0", 0, True),
        (450, "4.7.1", 0, False),
        (451, "4.7.1", 0, False),
        (451, "4.7.1", 1, True),
        (452, "4.7.1", 0, True),
        (451, "4.7.26", 0, True),
        (450, "4.2.0", 3, False),
        (452, "4.2.2", 3, False),
        (451, None, 3, False),
        (450, "4.77.1", 3, False),
    ],
)
@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA, Phase.DOT])
def test_what_asks_to_slow_down(phase: Phase, code: int, status: str | None, attempts: int, expected: bool) -> None:
    outcome = classify(phase, Reply(code, status, ""))
    assert says_slow_down(outcome, attempts=attempts) is expected


@pytest.mark.parametrize("phase", list(Phase))
def test_silence_asks_to_slow_down_unless_the_mail_may_have_arrived_or_the_relay_is_at_fault(phase: Phase) -> None:
    assert says_slow_down(cut(phase, "timed_out"), attempts=0) is (phase in (Phase.RCPT, Phase.DATA, Phase.BODY))
    assert not says_slow_down(cut(phase, "connection_cut"), attempts=0)


def test_a_window_starts_at_5_and_grows_by_1_with_each_answer_to_20() -> None:
    process = Process()
    sizes = [process.take()]
    for outcome in [SENT, BOUNCED] * 10:
        process.pacing.settle(KEY, outcome, attempts=0)
        process.take()
        sizes.append(process.pacing._windows[KEY].busy)
    assert sizes == [*range(START, CAP + 1), *[CAP] * 5]


def test_a_window_shrinks_by_1_with_each_request_to_slow_down() -> None:
    process = Process()
    process.take()
    assert [process.pacing.settle(KEY, SLOW, attempts=0) for _ in range(2)] == [False, False]
    assert process.take() == 0
    process.pacing.release(KEY)
    assert process.take() == 1


@pytest.mark.parametrize("outcome", SILENT)
def test_other_outcomes_leave_the_window_as_it_is(outcome: Outcome) -> None:
    process = Process()
    process.attempt(SLOW, *[outcome] * 30)
    assert process.take() == START - 1


def test_a_mail_that_was_never_attempted_leaves_the_window_as_it_is() -> None:
    process = Process()
    assert process.take() == START
    assert process.pacing.release(KEY) is True
    assert process.take() == 1


def test_an_answer_says_whether_there_is_room_for_another() -> None:
    process = Process()
    process.take()
    assert process.pacing.settle(KEY, SENT, attempts=0) is True
    assert process.take() == 2
    assert process.pacing.settle(KEY, SLOW, attempts=0) is False
    assert process.pacing.release(KEY) is True
    assert process.pacing.has_room(KEY)


def test_the_fifth_refusal_in_a_row_closes_a_destination_for_300_seconds() -> None:
    process = Process()
    process.attempt(*[SLOW] * 4)
    assert process.pacing.closed_seconds(KEY) == 0
    process.attempt(SLOW)
    assert process.pacing.closed_seconds(KEY) == 300
    assert process.take() == 0
    assert not process.pacing.has_room(KEY)


def test_a_closed_destination_opens_for_one_mail_at_a_time_and_grows_from_there() -> None:
    process = Process()
    process.close()
    process.clock.now += 299
    assert process.take() == 0
    process.clock.now += 1
    assert process.take() == 1
    process.pacing.settle(KEY, SENT, attempts=1)
    assert process.take() == 2


def test_each_further_closure_without_an_accepted_mail_doubles() -> None:
    process = Process()
    process.close()
    lengths = []
    for _ in range(5):
        process.clock.now += process.pacing.closed_seconds(KEY)
        process.attempt(SLOW)
        lengths.append(process.pacing.closed_seconds(KEY))
    assert lengths == [600, 1200, 2400, 4000, 4000]


def test_after_an_accepted_mail_a_closure_needs_several_refusals_and_is_short_again() -> None:
    process = Process()
    process.close()
    process.clock.now += 300
    process.attempt(SENT, SLOW, SLOW)
    assert process.pacing.closed_seconds(KEY) == 0
    process.attempt(SLOW)
    assert process.pacing.closed_seconds(KEY) == 300


def test_closures_are_as_long_as_the_retry_schedule_is_scaled() -> None:
    process = Process(scale=0.01)
    process.close()
    assert process.pacing.closed_seconds(KEY) == 3
    assert [closure_after(seconds, scale=0.01) for seconds in (0, 3, 6, 24, 40)] == [3, 6, 12, 40, 40]


def test_mails_under_way_when_a_destination_closed_change_nothing_any_more() -> None:
    process = Process()
    busy = process.fill()
    process.learn(Known(KEY, None, 300, 300))
    for outcome in ([SENT, SLOW] * busy)[:busy]:
        assert process.pacing.settle(KEY, outcome, attempts=0) is False
    assert process.pacing.closed_seconds(KEY) == 300
    assert (process.pacing.reports().recoveries, process.pacing.reports().closures) == ([], [])


def test_greylisting_of_new_recipients_closes_nothing() -> None:
    process = Process()
    greylisted = classify(Phase.RCPT, Reply(451, "4.7.1", "try again later"))
    process.attempt(*[greylisted] * 100, attempts=0)
    assert process.take() == START


def test_with_many_processes_each_still_has_one_mail_and_one_refusal_closes_nothing() -> None:
    process = Process(processes=64)
    process.attempt(SLOW, TIMED_OUT)
    assert process.take() == 1
    process.pacing.settle(KEY, SLOW, attempts=0)
    assert process.pacing.closed_seconds(KEY) == 300


def test_a_share_of_the_window_is_what_a_process_uses() -> None:
    process = Process(processes=2)
    assert process.take() == 2
    assert process.fill() == 10
    process.processes = 4
    process.learn()
    for _ in range(5):
        assert process.pacing.settle(KEY, SENT, attempts=0) is False
    assert process.pacing.settle(KEY, SENT, attempts=0) is True
