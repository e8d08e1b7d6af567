"""The rows in hand: who takes them, who waits, who goes back to the queue, and that none stays behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from newsletters.delivery import hand as hand_module
from newsletters.delivery.hand import Taken
from newsletters.delivery.pacing import Known, Snapshot
from newsletters.delivery.replies import SCHEDULE_SECONDS
from newsletters.delivery.window import START, Queue
from tests.delivery.hand_acts import BUSY, FREE, MANY, Table, close, settle_down
from tests.delivery.pacing_acts import SENT


def test_rows_of_a_full_destination_wait_or_are_parked_uncounted_and_others_go_on() -> None:
    table = Table(*["busy.example"] * MANY, *["free.example"] * 4)

    async def act() -> list[Taken]:
        taken = await table.take_all()
        await settle_down()
        return taken

    taken = asyncio.run(act())
    assert [key for _, key in taken] == [BUSY] * START + [FREE] * 4
    assert table.waiting() == Queue.MOST_ROOM
    parked = table.books.settled
    assert len(parked) == MANY - START - Queue.MOST_ROOM
    assert {(row.state, row.counted, row.uncertain, row.reason) for row in parked} == {
        ("queued", 0, 0, "destination_busy")
    }
    assert all(row.delay >= 2 for row in parked)


def test_a_freed_slot_goes_to_a_waiting_row_at_once_and_a_wider_window_to_two() -> None:
    table = Table(*["busy.example"] * 30)

    async def act() -> list[int]:
        first = await table.take_all()
        lanes = [asyncio.ensure_future(table.next()) for _ in range(4)]
        await settle_down()
        assert not any(lane.done() for lane in lanes)
        assert table.pacing.release(BUSY)
        table.hand.note_room(BUSY)
        await settle_down()
        once = sum(lane.done() for lane in lanes)
        # A mail that was taken makes room for two: one for a lane that waits, one for the lane that tells.
        assert table.pacing.settle(BUSY, SENT, attempts=0)
        table.hand.note_room(BUSY)
        own = table.hand.take()
        await settle_down()
        found = [len(first), once, sum(lane.done() for lane in lanes), int(own is not None)]
        await table.put_down()
        await asyncio.gather(*lanes)
        return found

    assert asyncio.run(act()) == [START, 1, 2, 1]


def test_room_that_another_issue_leaves_is_noticed() -> None:
    table = Table("busy.example")

    async def act() -> Taken | None:
        while table.pacing.admit(BUSY):
            pass
        lane = asyncio.ensure_future(table.next())
        await settle_down()
        assert not lane.done()
        table.pacing.release(BUSY)
        table.hand.look_after()
        return await lane

    taken = asyncio.run(act())
    assert taken is not None
    assert taken[1] == BUSY


def test_rows_of_a_closed_destination_are_parked_until_it_opens_and_waiting_ones_follow() -> None:
    table = Table(*["busy.example"] * 12)

    async def act() -> None:
        assert len(await table.take_all()) == START
        table.pacing.learn(Snapshot(frozenset([1]), [Known(BUSY, None, 300.0, 300)]))
        table.hand.look_after()
        await settle_down()

    asyncio.run(act())
    assert table.waiting() == 0
    assert table.reasons() == ["destination_closed"] * (12 - START)
    assert all(300 <= row.delay <= 330 for row in table.books.settled)
    assert {row.counted for row in table.books.settled} == {0}


def test_rows_claimed_for_a_closed_destination_are_parked_at_once() -> None:
    table = Table(*["busy.example"] * 3, "free.example")
    close(table.pacing, BUSY)
    taken = asyncio.run(table.take_all())
    assert [key for _, key in taken] == [FREE]
    assert table.reasons() == ["destination_closed"] * 3


@pytest.mark.parametrize(("late", "state"), [(-10.0, "queued"), (10.0, "expired")])
def test_a_row_whose_destination_is_closed_expires_after_the_whole_schedule(late: float, state: str) -> None:
    table = Table("busy.example")
    close(table.pacing, BUSY)
    table.run.age = SCHEDULE_SECONDS + late
    asyncio.run(table.take_all())
    assert [(row.state, row.reason) for row in table.books.settled] == [(state, "destination_closed")]


def test_a_busy_destination_expires_nobody() -> None:
    table = Table(*["busy.example"] * MANY)
    table.run.age = SCHEDULE_SECONDS + 10
    asyncio.run(table.take_all())
    assert {row.state for row in table.books.settled} == {"queued"}


@pytest.mark.parametrize("moment", ["ready", "waiting", "claiming", "parking"])
def test_nothing_stays_leased_when_the_hand_is_put_down(moment: str) -> None:
    table = Table(*["busy.example"] * MANY, *["free.example"] * 60)

    async def act() -> list[Taken]:
        taken: list[Taken] = []
        if moment == "ready":
            await table.hand.draw()
        if moment == "claiming":
            table.hand._claim_ahead()
            await asyncio.sleep(0)
            assert table.claims
        if moment in ("waiting", "parking"):
            taken = await table.take_all(tick=moment == "waiting")
        if moment == "parking":
            assert table.hand._parked or table.hand._giving_back
        await table.put_down()
        return taken

    taken = asyncio.run(act())
    assert set(table.books.leased) == {row.delivery_id for row, _ in taken}
    assert table.busy() == len(taken)
    assert {row.counted for row in table.books.settled} <= {0}


def test_a_stop_in_the_middle_of_a_claim_wakes_every_lane_and_gives_the_rows_back() -> None:
    table = Table(*["free.example"] * 40)
    go_on = asyncio.Event()
    table.before_claim = go_on.wait  # type: ignore[assignment]

    async def act() -> list[Taken | None]:
        lanes = [asyncio.ensure_future(table.next()) for _ in range(5)]
        await settle_down()
        table.run.stop()
        await settle_down()
        assert all(lane.done() for lane in lanes)
        putting = asyncio.ensure_future(table.hand.put_down())
        await settle_down()
        assert not putting.done()
        go_on.set()
        await putting
        return [lane.result() for lane in lanes]

    assert asyncio.run(act()) == [None] * 5
    assert table.books.leased == {}
    assert len(table.books.settled) == 16


def test_an_error_in_claiming_reaches_every_lane_and_leaves_nothing_leased() -> None:
    table = Table(*[f"{number}.example" for number in range(40)])

    async def fail() -> None:
        if len(table.claims) > 1:
            raise OperationalError("gone")

    async def act() -> list[Any]:
        table.before_claim = fail
        taken = [await table.next() for _ in range(16)]
        lanes = [asyncio.ensure_future(table.next()) for _ in range(3)]
        found = await asyncio.gather(*lanes, return_exceptions=True)
        with pytest.raises(OperationalError):
            await table.hand.draw()
        await table.put_down()
        return [len(taken), *map(type, found)]

    assert asyncio.run(act()) == [16, *[OperationalError] * 3]
    assert len(table.books.leased) == 16


def test_rows_that_no_lane_takes_are_given_back_once_and_not_claimed_again_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(*["free.example"] * 40)

    async def act() -> None:
        taken = await table.next()
        assert taken is not None
        table.hand.look_after()
        await settle_down()
        assert table.books.settled == []
        claims = len(table.claims)
        monkeypatch.setattr(hand_module, "PATIENCE_SECONDS", -1.0)
        table.hand.look_after()
        table.hand.look_after()
        await settle_down()
        assert len(table.claims) == claims

    asyncio.run(act())
    assert [row.state for row in table.books.settled] == ["queued"] * 39
    assert {(row.delay, row.counted, row.reason) for row in table.books.settled} == {(0.0, 0, None)}


def test_rows_just_drawn_are_not_given_back_because_lanes_have_been_busy_for_long() -> None:
    table = Table(*["free.example"] * 3)

    async def act() -> None:
        table.hand._taken_at -= 1000
        await table.hand.draw()
        table.hand.look_after()
        await settle_down()

    asyncio.run(act())
    assert table.books.settled == []


def test_claims_grow_to_full_batches_and_never_beyond() -> None:
    table = Table(*[f"{number}.example" for number in range(2000)])
    taken = asyncio.run(table.take_all())
    assert len(taken) == 2000
    assert table.claims[:5] == [16, 32, 64, 128, 256]
    assert max(table.claims) == 256


def test_who_waits_hears_that_nothing_is_left() -> None:
    table = Table("free.example")

    async def act() -> list[Taken | None]:
        return await asyncio.gather(*(table.next() for _ in range(4)))

    assert sum(taken is not None for taken in asyncio.run(act())) == 1
    assert table.hand.rows_for_lanes == 0


@pytest.mark.parametrize("closes", [False, True])
def test_lanes_that_wait_behind_waiting_rows_hear_when_there_are_none_any_more(closes: bool) -> None:
    table = Table(*["busy.example"] * (START + 1))

    async def act() -> list[Taken | None]:
        for _ in range(START):
            assert await table.next() is not None
        lanes = [asyncio.ensure_future(table.next()) for _ in range(4)]
        await settle_down()
        assert not any(lane.done() for lane in lanes)
        if closes:
            table.pacing.learn(Snapshot(frozenset([1]), [Known(BUSY, None, 300.0, 300)]))
            table.hand.look_after()
        else:
            table.pacing.release(BUSY)
            table.hand.note_room(BUSY)
        return await asyncio.gather(*lanes)

    assert sum(taken is not None for taken in asyncio.run(act())) == (not closes)
