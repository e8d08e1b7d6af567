"""Pacing under every course of events that Hypothesis can think of."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from newsletters.delivery.pacing import Key, Known, Snapshot
from newsletters.delivery.replies import Outcome
from tests.delivery.pacing_acts import BOUNCED, FULL, SENT, SLOW, TIMED_OUT, Process


class AnyCourse(RuleBasedStateMachine):
    """Whatever happens in whatever order, a process has no more mails under way than it was given room for."""

    KEYS = ((1, "a.example"), (1, "b.example"), (2, "a.example"))
    keys = st.sampled_from(KEYS)

    def __init__(self) -> None:
        super().__init__()
        self.process = Process(processes=3)
        self.pacing = self.process.pacing
        self.busy = dict.fromkeys(self.KEYS, 0)

    @rule(key=keys)
    def admit(self, key: Key) -> None:
        had_room = self.pacing.has_room(key)
        admitted = self.pacing.admit(key)
        assert admitted is had_room
        self.busy[key] += admitted
        if admitted:
            assert self.busy[key] <= self.pacing._windows[key].size

    @precondition(lambda self: any(self.busy.values()))
    @rule(data=st.data(), outcome=st.sampled_from([SENT, BOUNCED, SLOW, SLOW, TIMED_OUT, FULL, None]))
    def end(self, data: st.DataObject, outcome: Outcome | None) -> None:
        key = data.draw(st.sampled_from([key for key, busy in self.busy.items() if busy]))
        self.busy[key] -= 1
        if outcome is None:
            room = self.pacing.release(key)
        else:
            room = self.pacing.settle(key, outcome, attempts=0)
        assert room is self.pacing.has_room(key)

    @rule(seconds=st.sampled_from([0.01, 1.0, 61.0, 300.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.process.clock.now += seconds

    @rule(processes=st.integers(1, 30), data=st.data())
    def exchange(self, processes: int, data: st.DataObject) -> None:
        self.process.processes = processes
        rows = data.draw(st.dictionaries(self.keys, st.tuples(st.sampled_from([None, 1, 50]), st.booleans())))
        self.pacing.reports()
        known = [Known(key, limit, 300.0 * closed, 300 * closed) for key, (limit, closed) in rows.items()]
        self.pacing.learn(Snapshot(frozenset([1, 2]), known))

    @rule(key=keys)
    def park(self, key: Key) -> None:
        assert 2 <= self.pacing.park_seconds(key) <= 4400

    @invariant()
    def every_slot_is_counted_and_every_window_within_its_cap(self) -> None:
        for key, busy in self.busy.items():
            window = self.pacing._windows.get(key)
            assert busy == (window.busy if window else 0)
            assert window is None or 1 <= window.size <= window.cap

    @invariant()
    def closed_means_no_room(self) -> None:
        for key in list(self.pacing._windows):
            assert not (self.pacing.closed_seconds(key) and self.pacing.has_room(key))


AnyCourse.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyCourse = AnyCourse.TestCase
