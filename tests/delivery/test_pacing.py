"""What a process tells the database of its destinations, learns from it, and keeps in mind."""

from __future__ import annotations

import pytest

from newsletters.delivery.pacing import FORGET_SECONDS, Known, Pacing, Snapshot
from newsletters.delivery.window import CAP, START
from tests.delivery.pacing_acts import FULL, KEY, SENT, SLOW, Process


def test_destinations_are_apart_by_publisher_and_by_domain() -> None:
    process = Process()
    process.close()
    assert process.take((2, "example.org")) == START
    assert process.take((1, "example.net")) == START


def test_a_closure_is_reported_until_the_database_has_taken_it() -> None:
    process = Process()
    process.close()
    expected = [(KEY, "421 slow down")]
    assert process.pacing.reports().closures == expected
    assert process.pacing.reports().closures == expected
    process.pacing.learn(Snapshot(frozenset([1]), [Known(KEY, None, 300, 300)]))
    assert process.pacing.reports().closures == []


def test_a_recovery_is_reported_until_the_database_has_taken_it() -> None:
    process = Process()
    process.learn(Known(KEY, None, 0, 600))
    process.attempt(SENT, SENT)
    assert process.pacing.reports().recoveries == [KEY]
    assert process.pacing.reports().recoveries == [KEY]
    process.pacing.learn(Snapshot(frozenset([1]), [Known(KEY, None, 0, 0)]))
    assert process.pacing.reports().recoveries == []


def test_a_recovery_of_which_the_database_does_not_know_yet_is_not_undone_by_what_it_says() -> None:
    process = Process()
    process.learn(Known(KEY, None, 0, 600))
    process.pacing.reports()
    process.attempt(SENT)
    process.pacing.learn(Snapshot(frozenset([1]), [Known(KEY, None, 0, 600)]))
    process.attempt(SLOW, SLOW)
    assert process.pacing.closed_seconds(KEY) == 0
    assert process.pacing.reports().recoveries == [KEY]


def test_a_closure_of_which_the_database_does_not_know_yet_is_not_undone_by_what_it_says() -> None:
    process = Process()
    process.pacing.reports()
    process.close()
    process.pacing.learn(Snapshot(frozenset([1]), []))
    assert process.pacing.closed_seconds(KEY) == 300
    assert process.pacing.reports().closures


def test_a_closure_by_another_process_holds_here_too() -> None:
    process = Process()
    process.attempt(SENT, SLOW)
    process.learn(Known(KEY, None, 200, 600))
    assert process.pacing.closed_seconds(KEY) == 200
    process.clock.now += 200
    assert process.take() == 1
    process.pacing.settle(KEY, SLOW, attempts=1)
    assert process.pacing.closed_seconds(KEY) == 1200


def test_a_destination_that_is_first_used_after_the_database_told_of_it_is_closed() -> None:
    process = Process()
    process.learn(Known(KEY, None, 200, 300))
    process.clock.now += 50
    assert process.take() == 0
    assert process.pacing.closed_seconds(KEY) == 150


def test_a_destination_not_yet_proven_starts_with_one_mail_in_a_new_process() -> None:
    process = Process()
    process.learn(Known(KEY, None, 0, 300))
    assert process.take() == 1


def test_a_person_reopens_a_destination() -> None:
    process = Process()
    process.close()
    process.learn(Known(KEY, None, 300, 300))
    assert process.take() == 0
    process.learn(Known(KEY, None, 0, 0))
    assert process.take() == 1
    process.pacing.settle(KEY, SLOW, attempts=1)
    assert process.pacing.closed_seconds(KEY) == 0


def test_a_destination_that_a_person_deleted_is_open_and_unlimited() -> None:
    process = Process()
    process.learn(Known(KEY, 1, 300, 300))
    assert process.take() == 0
    process.learn()
    assert process.fill() == CAP


def test_what_is_said_of_one_publisher_leaves_anothers_destinations_alone() -> None:
    process = Process()
    process.close()
    process.learn(Known(KEY, None, 300, 300))
    process.learn(publisher=2)
    assert process.take() == 0


@pytest.mark.parametrize(("limit", "processes", "start", "full"), [(2, 1, 2, 2), (40, 1, 5, 40), (1, 4, 1, 1)])
def test_a_persons_limit_takes_the_place_of_the_cap(limit: int, processes: int, start: int, full: int) -> None:
    process = Process(processes=processes)
    process.learn(Known(KEY, limit, 0, 0))
    assert process.take() == start
    assert process.fill() == full


def test_a_limit_edited_while_sending_holds_from_the_next_mail_on() -> None:
    process = Process()
    assert process.fill() == CAP
    process.learn(Known(KEY, 3, 0, 0))
    rooms = [process.pacing.settle(KEY, SENT, attempts=0) for _ in range(18)]
    assert rooms == [False] * 17 + [True]


def test_the_windows_of_destinations_with_a_row_are_reported_for_all_processes_together() -> None:
    process = Process(processes=2)
    process.learn(Known(KEY, None, 0, 0))
    process.attempt(*[SENT] * 3, key=(1, "no-row.example"))
    process.attempt(*[SENT] * 3)
    process.clock.now += 10
    assert process.pacing.reports().windows == [(KEY, 10)]
    process.clock.now += 10
    assert process.pacing.reports().windows == []


def test_a_row_parked_at_a_closed_destination_waits_until_it_opens() -> None:
    process = Process()
    process.close()
    process.clock.now += 100
    assert all(200 <= process.pacing.park_seconds(KEY) <= 220 for _ in range(1000))


def park(process: Process, rows: int) -> list[float]:
    return [process.pacing.park_seconds(KEY) for _ in range(rows)]


def answer(process: Process, mails: int, *, seconds: float) -> None:
    """Have a destination with all 20 slots in use answer so many mails that took so many seconds each."""
    for _ in range(mails):
        process.clock.now += seconds / 20
        process.pacing.settle(KEY, SENT, attempts=0, seconds=seconds)
        process.take()


def test_rows_parked_at_a_fast_destination_come_back_as_fast_as_it_answers() -> None:
    process = Process()
    process.fill()
    answer(process, 100, seconds=0.2)
    waits = park(process, 1000)
    assert all(2 <= wait <= 2.3 for wait in waits[:5])
    assert all(2 + 0.01 * turn * 0.9 <= wait <= (2.5 + 0.01 * turn) * 1.11 for turn, wait in enumerate(waits))
    answer(process, 1000, seconds=0.2)
    assert process.pacing.park_seconds(KEY) < 2.3


def test_a_window_that_has_yet_to_grow_parks_nobody_for_longer_than_a_wide_one() -> None:
    process = Process()
    process.take()
    process.pacing.park_seconds(KEY)
    for _ in range(3):
        process.clock.now += 0.02
        process.pacing.settle(KEY, SENT, attempts=0, seconds=0.02)
    assert max(park(process, 500)) < 4


def test_a_destination_that_was_idle_is_not_taken_for_silent() -> None:
    process = Process()
    process.fill()
    process.pacing.park_seconds(KEY)
    for _ in range(20):
        process.pacing.settle(KEY, SENT, attempts=0, seconds=0.02)
    process.clock.now += 50
    process.take()
    assert process.pacing.park_seconds(KEY) < 2.3


def test_rows_parked_at_a_tarpit_come_back_rarely() -> None:
    process = Process()
    process.take()
    process.pacing.park_seconds(KEY)
    process.clock.now += 60
    waits = park(process, 40_000)
    assert waits[0] >= 5
    assert all(300 <= wait <= 330 for wait in waits[105:])


def test_a_tarpit_that_recovers_gets_its_rows_sooner_again() -> None:
    process = Process()
    process.fill()
    process.pacing.park_seconds(KEY)
    process.clock.now += 60
    park(process, 1000)
    answer(process, 1200, seconds=0.2)
    assert process.pacing.park_seconds(KEY) < 3


def test_slow_mails_that_are_taken_in_the_end_narrow_a_window_and_close_nothing() -> None:
    process = Process()
    assert process.take() == 5
    process.pacing.park_seconds(KEY)
    for _ in range(30):
        process.pacing.settle(KEY, SENT, attempts=0, seconds=6.0)
        process.take()
        if process.pacing._windows[KEY].busy == 0:
            assert process.pacing.admit(KEY)
    assert process.pacing._windows[KEY].size == 1
    assert process.pacing.closed_seconds(KEY) == 0


def test_more_rows_wait_at_hand_for_a_fast_destination_than_for_a_slow_one() -> None:
    process = Process()
    process.fill()
    process.pacing.park_seconds(KEY)
    answer(process, 100, seconds=0.02)
    assert process.pacing.waiting_room(KEY) == 250
    answer(process, 100, seconds=4.0)
    assert process.pacing.waiting_room(KEY) == 20
    closed = Process()
    closed.close()
    assert closed.pacing.waiting_room(KEY) == 0


def test_parking_is_as_short_as_the_retry_schedule_is_scaled() -> None:
    process = Process(scale=0.01)
    process.take()
    assert max(park(process, 1000)) <= 3.3


def test_destinations_without_trouble_need_no_memory() -> None:
    process = Process()
    for number in range(1000):
        process.attempt(SENT, FULL, key=(1, f"domain-{number}.example"))
    assert len(process.pacing) == 0


def test_destinations_with_trouble_are_forgotten_once_it_is_over_and_they_are_idle() -> None:
    process = Process()
    process.close()
    process.attempt(SLOW, key=(1, "slow.example"))
    process.take((1, "busy.example"))
    process.learn(Known(KEY, None, 300, 300))
    process.clock.now += FORGET_SECONDS
    process.pacing.reports()
    assert len(process.pacing) == 2
    process.clock.now += 300
    process.learn(Known(KEY, None, 0, 300))
    process.clock.now += FORGET_SECONDS
    process.pacing.reports()
    assert len(process.pacing) == 1
    assert process.take() == 1


def test_switched_off_everybody_is_admitted_and_nothing_is_kept() -> None:
    pacing = Pacing(lambda limit: limit, enabled=False)
    assert all(pacing.admit(KEY) for _ in range(100))
    assert all(pacing.settle(KEY, SLOW, attempts=0) for _ in range(50))
    assert all(pacing.release(KEY) for _ in range(50))
    assert pacing.has_room(KEY)
    assert pacing.closed_seconds(KEY) == 0
    assert len(pacing) == 0
    assert pacing.reports().closures == []
