"""Mails that a relay keeps waiting, and connections that break in ways nobody foresaw."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from newsletters.delivery import breaker as breaker_module
from newsletters.delivery import courier as courier_module
from newsletters.delivery import hand as hand_module
from newsletters.delivery import rescue
from newsletters.delivery.compose import Mail
from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.replies import Outcome, Phase, Verdict, cut
from newsletters.models import Delivery, Issue, IssueState
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import claim, expire_leases, permit, prove, send, states
from tests.delivery.links import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]

LIMITS = Limits(lanes=4, issues=4, slice_seconds=1, lease_seconds=60)
SENT = Outcome(Verdict.SENT, Phase.DOT, None)
Act = Callable[[Courier], Awaitable[Any]]


class Tarpit:
    """A connection whose relay takes 10 ms for a mail, and keeps those to `slow` addresses until `free` is set."""

    def __init__(self, *slow: str, outcome: Outcome = SENT) -> None:
        self.slow = slow
        self.outcome = outcome
        self.free = asyncio.Event()
        self.sent: list[str] = []
        self.usable = True

    async def open(self) -> Tarpit:
        return self

    async def send(self, mail: Mail) -> Outcome:
        await asyncio.sleep(0.01)
        if mail.recipient in self.slow:
            await self.free.wait()
        self.sent.append(mail.recipient)
        return self.outcome

    def close(self) -> None:
        pass


class Broken(Tarpit):
    async def send(self, mail: Mail) -> Outcome:
        raise RuntimeError("a mistake in a connection")


def with_courier(loop: asyncio.AbstractEventLoop, tarpit: Tarpit, act: Act) -> None:
    async def main() -> None:
        courier = Courier(loop, LIMITS, tarpit.open)
        courier.start()
        try:
            await asyncio.wait_for(act(courier), timeout=300)
        finally:
            tarpit.free.set()
            await loop.run_in_executor(None, courier.stop)

    asyncio.run_coroutine_threadsafe(main(), loop).result(timeout=600)


async def serve_until(courier: Courier, issue: Issue, done: Callable[[], bool]) -> None:
    while not done():
        await courier.serve(issue.pk)
        await asyncio.sleep(0.05)


def issue_for(readers: int) -> Issue:
    newsletter = make_newsletter()
    make_readers(newsletter, readers)
    return send(newsletter)


def test_a_mail_that_the_relay_keeps_waiting_stops_no_other(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "STRAGGLER_SECONDS", 0.1)
    monkeypatch.setattr(hand_module, "PATIENCE_SECONDS", 0.1)
    issue, tarpit = issue_for(400), Tarpit("reader-9@example.org")

    async def act(courier: Courier) -> None:
        await serve_until(courier, issue, lambda: len(tarpit.sent) == 399)

    with_courier(loop, tarpit, act)
    # Stopping waits for the mail in flight: its outcome is known.
    assert states(issue) == {"sent": 400}
    assert len(set(tarpit.sent)) == len(tarpit.sent) == 400


def test_kept_mails_take_no_more_lanes_than_there_are(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "STRAGGLER_SECONDS", 0.1)
    slow = [f"reader-{number}@example.org" for number in range(1, 101)]
    issue, tarpit = issue_for(100), Tarpit(*slow)
    gated: list[int] = []

    async def act(courier: Courier) -> None:
        prove(courier)
        for _ in range(6):
            await courier.serve(issue.pk)
        gated.append(await courier._database.run(Delivery.objects.filter(issue=issue, gated=True).count))

    with_courier(loop, tarpit, act)
    assert gated == [LIMITS.lanes]


def test_kept_mails_that_end_uncertain_pause_their_issue(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "STRAGGLER_SECONDS", 0.1)
    monkeypatch.setattr(breaker_module, "UNCERTAIN_IN_A_ROW", LIMITS.lanes)
    slow = [f"reader-{number}@example.org" for number in range(1, 101)]
    issue, tarpit = issue_for(100), Tarpit(*slow, outcome=cut(Phase.DOT, "timed_out"))

    async def act(courier: Courier) -> None:
        prove(courier)
        await courier.serve(issue.pk)
        tarpit.free.set()
        await until(lambda: not courier._stragglers)
        await courier.serve(issue.pk)

    with_courier(loop, tarpit, act)
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.PAUSED, "uncertain_outcomes")
    assert len(tarpit.sent) == LIMITS.lanes


def test_suspects_do_not_wait_for_a_kept_mail_with_everybody_else(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "STRAGGLER_SECONDS", 0.1)
    monkeypatch.setattr(courier_module, "SOLO_PATIENCE_SECONDS", 0.2)
    first, second = issue_for(1), issue_for(60)
    (row,) = claim(second, 1)
    permit(row)
    expire_leases()
    rescue.reclaim_dead_leases()
    kept = Delivery.objects.select_related("subscription__subscriber").get(issue=first)
    assert kept.subscription is not None
    tarpit = Tarpit(kept.subscription.subscriber.address)

    async def act(courier: Courier) -> None:
        prove(courier)
        await courier.serve(first.pk)
        await serve_until(courier, second, lambda: len(tarpit.sent) == 59)
        tarpit.free.set()
        await serve_until(courier, second, lambda: len(tarpit.sent) == 61)

    with_courier(loop, tarpit, act)
    assert (states(first), states(second)) == ({"sent": 1}, {"sent": 60})


def test_a_mistake_in_a_connection_leaves_its_row_to_the_rescue(loop: asyncio.AbstractEventLoop) -> None:
    issue, broken = issue_for(3), Broken()

    async def act(courier: Courier) -> None:
        with pytest.raises(RuntimeError):
            await courier.serve(issue.pk)
        # Renewed no more, the lease of the mail that nobody knows about runs out.
        assert not courier._ledger._held

    with_courier(loop, broken, act)
    assert states(issue) == {"sending": 1, "queued": 2}
    expire_leases()
    rescue.reclaim_dead_leases()
    assert Delivery.objects.get(uncertain=True).state == "queued"
