"""The ledger's thread: group commit, fail-stop, and settle against gate in a real race."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection

from newsletters.delivery import ledger as ledger_module
from newsletters.delivery import rescue
from newsletters.delivery.dialects import Claimed, Gate, Settlement, dialect
from newsletters.delivery.ledger import GateAnswer, Ledger, settle_refused
from newsletters.models import Delivery, Issue, IssueState, Subscription
from tests.cast import make_newsletter, make_reader, make_readers
from tests.delivery.acts import claim, expire_leases, gate_of, permit, row_of, start
from tests.delivery.links import until

pytestmark = pytest.mark.django_db(transaction=True)


def with_ledger(act: Callable[[Ledger], Any], *, lease_seconds: int = 60) -> Any:
    async def main() -> Any:
        ledger = Ledger(asyncio.get_running_loop(), lease_seconds=lease_seconds)
        ledger.start()
        try:
            return await act(ledger)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, ledger.stop)

    return asyncio.run(main())


def sent(row: Claimed, gate: Gate) -> Settlement:
    return Settlement(row.delivery_id, row.lease_token, gate.intent_id, "sent")


@pytest.mark.dialects
def test_lanes_that_come_together_are_committed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 30)
    rows = claim(start(newsletter))
    commits: list[int] = []
    turn = type(dialect()).turn

    def counted(self: Any, settlements: Any, gates: Any) -> set[int]:
        commits.append(len(gates))
        return turn(self, settlements, gates)

    monkeypatch.setattr(type(dialect()), "turn", counted)

    async def act(ledger: Ledger) -> list[GateAnswer]:
        return list(await asyncio.gather(*(ledger.turn([], gate_of(row)) for row in rows)))

    assert set(with_ledger(act)) == {GateAnswer.PERMITTED}
    assert sum(commits) == 30
    assert len(commits) < 10


@pytest.mark.dialects
def test_while_the_database_is_away_outcomes_wait_and_nobody_is_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "RETRY_SECONDS", 0.01)
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    one, two = claim(start(newsletter))
    gate = permit(one)
    turn, failures = type(dialect()).turn, [0]

    def failing(self: Any, settlements: Any, gates: Any) -> set[int]:
        if failures[0] < 5:
            failures[0] += 1
            assert row_of_in_thread(one.delivery_id) == "sending"
            raise OperationalError("the database is away")
        return turn(self, settlements, gates)

    monkeypatch.setattr(type(dialect()), "turn", failing)

    async def act(ledger: Ledger) -> GateAnswer:
        return await ledger.turn([sent(one, gate)], gate_of(two))

    assert with_ledger(act) is GateAnswer.PERMITTED
    assert failures[0] == 5
    assert row_of(one.delivery_id).state == "sent"


@pytest.mark.dialects
@pytest.mark.parametrize("error", [InterfaceError("the cursor is closed"), ValueError("a mistake")])
def test_no_exception_ends_the_thread_that_all_lanes_wait_for(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "RETRY_SECONDS", 0.01)
    newsletter = make_newsletter()
    make_readers(newsletter, 2)
    one, two = claim(start(newsletter))
    turn, failures = type(dialect()).turn, [0]

    def failing(self: Any, settlements: Any, gates: Any) -> set[int]:
        failures[0] += 1
        if failures[0] == 1:
            raise error
        return turn(self, settlements, gates)

    monkeypatch.setattr(type(dialect()), "turn", failing)

    async def act(ledger: Ledger) -> GateAnswer:
        await asyncio.wait_for(ledger.turn([], gate_of(one)), timeout=120)
        return await asyncio.wait_for(ledger.turn([], gate_of(two)), timeout=120)

    assert with_ledger(act) is GateAnswer.PERMITTED


def row_of_in_thread(pk: int) -> str:
    return Delivery.objects.values_list("state", flat=True).get(pk=pk)


@pytest.mark.dialects
def test_one_outcome_that_cannot_be_stored_stops_no_other() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 8)
    rows = claim(start(newsletter))
    gates = [permit(row) for row in rows]
    settlements = [sent(row, gate) for row, gate in zip(rows, gates, strict=True)]
    # No such state: the constraint refuses it.
    settlements[3] = Settlement(rows[3].delivery_id, rows[3].lease_token, gates[3].intent_id, "nonsense")

    async def act(ledger: Ledger) -> list[GateAnswer]:
        ledger.hold({row.delivery_id: row.lease_token for row in rows})
        answers = list(await asyncio.gather(*(ledger.turn([settlement]) for settlement in settlements)))
        # Renewed no more, its lease runs out and the rescue finds it.
        assert not ledger._held
        return answers

    answers = with_ledger(act)
    assert [answer is GateAnswer.LEASE_LOST for answer in answers] == [number == 3 for number in range(8)]
    states = [row_of(row.delivery_id).state for row in rows]
    assert states == ["sent"] * 3 + ["sending"] + ["sent"] * 4


@pytest.mark.dialects
def test_repeating_a_committed_turn_changes_nothing() -> None:
    # A COMMIT whose answer was lost is repeated: its settlements and gates must be harmless the second time.
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    one, two, three = claim(start(newsletter))
    first, second = permit(one), permit(two)
    settlements = [
        sent(one, first),
        Settlement(two.delivery_id, two.lease_token, second.intent_id, "queued", delay=60, counted=1),
    ]
    gate = gate_of(three)
    assert dialect().turn(settlements, [gate]) == {three.delivery_id}
    assert dialect().turn(settlements, [gate]) == {three.delivery_id}
    assert (row_of(one.delivery_id).state, row_of(two.delivery_id).attempts) == ("sent", 1)
    assert row_of(three.delivery_id).intent_id == gate.intent_id


@pytest.mark.dialects
@pytest.mark.parametrize(
    ("change", "answer", "state"),
    [
        ("paused", GateAnswer.NOT_SENDING, "queued"),
        ("cancelled", GateAnswer.CANCELLED, "cancelled"),
        ("unsubscribed", GateAnswer.UNSUBSCRIBED, "suppressed"),
        ("erased", GateAnswer.ERASED, "suppressed"),
        ("lease", GateAnswer.LEASE_LOST, None),
    ],
)
def test_a_refusal_says_why_and_what_becomes_of_the_row(change: str, answer: GateAnswer, state: str | None) -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    issue = start(newsletter)
    (row,) = claim(issue)
    if change in ("paused", "cancelled"):
        Issue.objects.filter(pk=issue.pk).move([IssueState.SENDING], IssueState(change))
    elif change == "unsubscribed":
        Subscription.objects.filter(pk=reader.pk).update(state="unsubscribed")
    elif change == "erased":
        reader.subscriber.delete()
    else:
        Delivery.objects.filter(pk=row.delivery_id).update(lease_token=uuid.uuid4())
    gate = gate_of(row)

    async def act(ledger: Ledger) -> GateAnswer:
        ledger.hold({row.delivery_id: row.lease_token})
        given = await ledger.turn([], gate)
        settlement = settle_refused(given, gate)
        if settlement is not None:
            await ledger.turn([settlement])
        assert not ledger._held
        return given

    assert with_ledger(act) is answer
    assert row_of(row.delivery_id).state == (state or "sending")


@pytest.mark.dialects
def test_losing_an_old_claim_of_a_row_does_not_let_go_of_the_new_one() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    (old,) = claim(issue)
    expire_leases()
    rescue.reclaim_dead_leases()
    (new,) = claim(issue)

    async def act(ledger: Ledger) -> GateAnswer:
        ledger.hold({new.delivery_id: new.lease_token})
        given = await ledger.turn([], gate_of(old))
        assert ledger._held == {new.delivery_id: new.lease_token}
        return given

    assert with_ledger(act) is GateAnswer.LEASE_LOST


@pytest.mark.dialects
def test_leases_of_mails_in_flight_are_renewed() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    (row,) = claim(start(newsletter), lease_seconds=60)
    permit(row)
    expire_leases()

    async def act(ledger: Ledger) -> None:
        ledger.hold({row.delivery_id: row.lease_token})
        await until(lambda: executor.submit(leased_until).result() > 2020)

    def leased_until() -> int:
        try:
            lease_until = row_of(row.delivery_id).lease_until
            assert lease_until is not None
            return lease_until.year
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        with_ledger(act, lease_seconds=2)


def test_settling_and_gating_one_row_at_once_loses_neither() -> None:
    """A late `sent` races the next holder's gate: exactly one of them wins, whichever comes first."""
    newsletter = make_newsletter()
    make_readers(newsletter, 150)
    issue = start(newsletter)
    settled_first = 0
    for number, row in enumerate(claim(issue, 150)):
        old = permit(row)
        fresh = gate_of(row)
        barrier = threading.Barrier(2)
        permitted: list[set[int]] = []
        threads = [
            threading.Thread(target=_race, args=(barrier, [sent(row, old)], [], [])),
            threading.Thread(target=_race, args=(barrier, [], [fresh], permitted)),
        ]
        # Whoever comes last to the barrier goes on first, most of the time: each is that in turn.
        for thread in threads if number % 2 else reversed(threads):
            thread.start()
        for thread in threads:
            thread.join()
        now = row_of(row.delivery_id)
        if now.state == "sent":
            settled_first += 1
            assert permitted == [set()]
            assert now.intent_id == old.intent_id
        else:
            assert permitted == [{row.delivery_id}]
            assert (now.state, now.intent_id) == ("sending", fresh.intent_id)
    assert 0 < settled_first < 150, "the race was never raced"


def _race(
    barrier: threading.Barrier, settlements: list[Settlement], gates: list[Gate], answers: list[set[int]]
) -> None:
    connection.ensure_connection()
    barrier.wait()
    answers.append(dialect().turn(settlements, gates))
    connection.close()
