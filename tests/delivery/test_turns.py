"""Whose turn it is when more issues are due than a process delivers at once."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletters.delivery.turns import FORGET_SECONDS, SHORTEST_TURN_SECONDS, Turns
from tests.delivery.pacing_acts import Clock

# What the clock takes to ring for every issue again, and what a slice takes to end.
RING_SECONDS, END_SECONDS = 0.25, 0.1


@dataclass
class Process:
    """Rings for each issue as the clock does, in an order of its own, and ends the turns that are to make room."""

    most: int
    order: random.Random | None = None
    clock: Clock = field(default_factory=Clock)
    begun: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.turns = Turns(self.most, clock=self.clock)

    def go_on(self, issues: list[int], *, seconds: float) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            for issue in list(self.turns.running):
                if self.turns.is_to_yield(issue):
                    self.turns.end(issue)
            rung = self.order.sample(issues, len(issues)) if self.order else issues
            for issue in rung:
                if self.turns.begin(issue):
                    self.begun.setdefault(issue, []).append(self.clock.now)
            assert len(self.turns.running) <= self.most
            self.clock.now += RING_SECONDS + END_SECONDS

    def longest_wait(self, issue: int, since: float) -> float:
        times = [since, *self.begun.get(issue, []), self.clock.now]
        return max(after - before for before, after in itertools.pairwise(times))


def test_an_issue_has_one_turn_at_a_time() -> None:
    turns = Turns(2, clock=Clock())
    assert [turns.begin(1), turns.begin(1), turns.begin(2)] == [True, False, True]
    turns.end(1)
    assert turns.begin(1)


def test_nobody_makes_room_while_there_is_room_or_nobody_waits() -> None:
    clock = Clock()
    turns = Turns(2, clock=clock)
    turns.begin(1)
    clock.now += 100
    assert not turns.is_to_yield(1)
    turns.begin(2)
    assert not turns.is_to_yield(1)
    assert not turns.begin(3)
    assert turns.is_to_yield(1)
    clock.now += FORGET_SECONDS
    assert not turns.is_to_yield(1)


def test_only_the_longest_turn_ends_and_none_before_its_time() -> None:
    clock = Clock()
    turns = Turns(2, clock=clock)
    turns.begin(1)
    clock.now += SHORTEST_TURN_SECONDS / 2
    turns.begin(2)
    turns.begin(3)
    assert not turns.is_to_yield(1)
    clock.now += SHORTEST_TURN_SECONDS / 2
    turns.begin(3)
    assert [turns.is_to_yield(1), turns.is_to_yield(2)] == [True, False]


def test_whoever_made_room_does_not_take_it_again() -> None:
    clock = Clock()
    turns = Turns(1, clock=clock)
    turns.begin(1)
    turns.begin(2)
    turns.end(1)
    assert [turns.begin(1), turns.begin(2)] == [False, True]


def test_who_waits_elsewhere_or_has_ended_keeps_nobody_from_his_turn() -> None:
    clock = Clock()
    turns = Turns(1, clock=clock)
    turns.begin(1)
    turns.begin(2)
    turns.end(1)
    assert not turns.begin(3)
    clock.now += 1.0
    assert turns.begin(3)


@pytest.mark.parametrize("others", [4, 5, 9])
def test_a_newcomer_to_a_busy_process_has_its_turn_when_the_shortest_is_over(others: int) -> None:
    process = Process(4)
    busy = list(range(1, others + 1))
    process.go_on(busy, seconds=30)
    came_at = process.clock.now
    # The one that is rung for last.
    process.go_on([*busy, 100], seconds=30)
    before = max(0, others - process.most)
    step = RING_SECONDS + END_SECONDS
    assert process.longest_wait(100, came_at) <= SHORTEST_TURN_SECONDS + (before + 2) * (SHORTEST_TURN_SECONDS + step)
    assert process.begun[100][0] - came_at <= SHORTEST_TURN_SECONDS + (before + 1) * 2 * step


@given(
    most=st.integers(1, 6),
    issues=st.lists(st.integers(1, 1000), min_size=1, max_size=20, unique=True),
    seed=st.none() | st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_nobody_starves_in_whatever_order_the_clock_rings(
    most: int, issues: list[int], seed: random.Random | None
) -> None:
    process = Process(most, order=seed)
    began = process.clock.now
    process.go_on(issues, seconds=120)
    step = RING_SECONDS + END_SECONDS
    # One turn ends at each step at best, and each lasts so long that all others pass by once.
    rounds = -(-len(issues) // most)
    fair = rounds * (SHORTEST_TURN_SECONDS + 2 * step) + len(issues) * step
    running_to_the_end = set(process.turns.running)
    for issue in issues:
        if len(issues) <= most:
            assert process.begun[issue] == [began]
        elif issue not in running_to_the_end:
            assert process.longest_wait(issue, began) <= 2 * fair
