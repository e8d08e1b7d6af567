"""However a lane ends, nothing stays behind: no slot, no lease that is renewed, no connection counted, no outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import OperationalError

from newsletters.delivery import courier as courier_module
from newsletters.delivery.claim import claim
from newsletters.delivery.compose import Mail, Template
from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.replies import Outcome, Phase, Reply, Verdict, classify
from newsletters.delivery.smtp import RelayFaultError
from newsletters.models import Delivery, Issue, SenderIdentity, Subscription
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import prove, send, states

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.dialects]

LIMITS = Limits(lanes=4, issues=4, slice_seconds=600, lease_seconds=600)
SENT = Outcome(Verdict.SENT, Phase.DOT, Reply(250, "2.0.0", "2.0.0 ok"))
REFUSED = classify(Phase.MAIL, Reply(550, "5.7.1", "sender refused"))


class Link:
    """A relay and its one connection; `act` is what sending a mail, by its number, comes to."""

    def __init__(self, act: Callable[[int], Awaitable[Outcome]] | None = None) -> None:
        self.act = act
        self.mails = 0
        self.opened = 0
        self.usable = True
        self.on_open: Callable[[int], Awaitable[None]] | None = None

    async def open(self) -> Link:
        self.opened += 1
        if self.on_open is not None:
            await self.on_open(self.opened)
        self.usable = True
        return self

    async def send(self, mail: Mail) -> Outcome:
        self.mails = number = self.mails + 1
        await asyncio.sleep(0.001)
        return await self.act(number) if self.act else SENT

    def close(self) -> None:
        self.usable = False


def with_courier(loop: asyncio.AbstractEventLoop, link: Link, act: Callable[[Courier], Awaitable[Any]]) -> Any:
    """Return what `act` does; then nothing may be left behind."""

    async def main() -> Any:
        courier = Courier(loop, LIMITS, link.open)
        prove(courier)
        courier.start()
        try:
            found = await asyncio.wait_for(act(courier), timeout=300)
        finally:
            await loop.run_in_executor(None, courier.stop)
        assert sum(window.busy for window in courier._bounds.pacing._windows.values()) == 0
        assert not any(courier._of_sender.values())
        assert courier._lanes == 0
        assert courier._ledger._held == {}
        assert not courier._turns.running
        return found

    return asyncio.run_coroutine_threadsafe(main(), loop).result(timeout=600)


def issue_for(readers: int) -> Issue:
    newsletter = make_newsletter()
    make_readers(newsletter, readers)
    return send(newsletter)


async def refuse(_: int) -> Outcome:
    return REFUSED


async def break_down(number: int) -> Outcome:
    if number > 5:
        raise RuntimeError("a mistake in a connection")
    return SENT


async def cancel(number: int) -> Outcome:
    if number == 6:
        for task in asyncio.all_tasks():
            if "_work" in str(task.get_coro()):
                task.cancel()
        await asyncio.sleep(0)
    return SENT


@pytest.mark.parametrize(
    ("act", "error"), [(refuse, None), (break_down, RuntimeError), (cancel, asyncio.CancelledError)]
)
def test_a_lane_that_ends_in_the_middle_of_a_mail_leaves_nothing_behind(
    loop: asyncio.AbstractEventLoop, act: Callable[[int], Awaitable[Outcome]], error: type[BaseException] | None
) -> None:
    issue, link = issue_for(100), Link(act)

    async def serve(courier: Courier) -> str | None:
        try:
            await courier.serve(issue.pk)
        except (RuntimeError, asyncio.CancelledError) as raised:
            return type(raised).__name__
        return None

    assert with_courier(loop, link, serve) == (error.__name__ if error else None)
    found = states(issue)
    assert sum(found.values()) == 100
    # What nobody knows about is left to the rescue, and that is at most a mail for each lane.
    assert found.get("sending", 0) <= (LIMITS.lanes if error else 0)
    assert Delivery.objects.filter(state="sending", gated=False).count() == 0


def test_rows_that_the_gate_refuses_leave_nothing_behind(loop: asyncio.AbstractEventLoop) -> None:
    issue, link = issue_for(100), Link()
    Subscription.objects.update(state="unsubscribed")
    with_courier(loop, link, lambda courier: courier.serve(issue.pk))
    assert (states(issue), link.mails) == ({"suppressed": 100}, 0)


def test_mails_that_cannot_be_written_leave_nothing_behind(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue, link = issue_for(100), Link()
    monkeypatch.setattr(Template, "compose", lambda *_: 1 / 0)
    with_courier(loop, link, lambda courier: courier.serve(issue.pk))
    assert set(states(issue)) == {"held", "queued"}
    assert link.mails == 0


def test_a_relay_that_cannot_be_reached_leaves_nothing_behind(loop: asyncio.AbstractEventLoop) -> None:
    issue, link = issue_for(100), Link()

    async def fail(_: int) -> None:
        raise RelayFaultError(classify(Phase.CONNECT, Reply(454, None, "not now")))

    link.on_open = fail
    with_courier(loop, link, lambda courier: courier.serve(issue.pk))
    assert states(issue) == {"queued": 100}
    assert not Delivery.objects.filter(attempts__gt=0).exists()


@pytest.mark.parametrize("claims", [0, 2])
def test_an_error_in_claiming_reaches_whoever_asked_to_serve(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, claims: int
) -> None:
    issue, link = issue_for(100), Link()
    asked: list[int] = []

    def fail(issue_id: int, limit: int) -> Any:
        asked.append(limit)
        if len(asked) > claims:
            raise OperationalError("gone")
        return claim(issue_id, limit)

    monkeypatch.setattr(courier_module, "claim", fail)

    async def serve(courier: Courier) -> None:
        with pytest.raises(OperationalError):
            await courier.serve(issue.pk)

    with_courier(loop, link, serve)
    found = states(issue)
    assert found == {key: value for key, value in {"queued": 100 - link.mails, "sent": link.mails}.items() if value}


def test_what_is_known_of_a_mail_is_told_before_a_lane_waits_for_another_connection(
    loop: asyncio.AbstractEventLoop,
) -> None:
    issue, link = issue_for(2), Link()
    go_on = asyncio.Event()

    async def wear_out(_: int) -> Outcome:
        link.usable = False
        return SENT

    async def hang(number: int) -> None:
        if number > 1:
            await go_on.wait()

    link.act, link.on_open = wear_out, hang

    async def act(courier: Courier) -> int:
        courier._relay.proven = False
        serving = asyncio.ensure_future(courier.serve(issue.pk))
        while link.opened < 2:  # noqa: ASYNC110  # a relay has no event either
            await asyncio.sleep(0.01)
        found: int = await courier._database.run(Delivery.objects.filter(state="sent").count)
        go_on.set()
        await serving
        return found

    assert with_courier(loop, link, act) == 1
    assert states(issue) == {"sent": 2}


@pytest.mark.parametrize("wait", ["rate", "window", "connection"])
def test_draining_lets_go_of_lanes_that_wait(loop: asyncio.AbstractEventLoop, wait: str) -> None:
    if wait == "rate":
        newsletter = make_newsletter()
        SenderIdentity.objects.filter(pk=newsletter.sender_id).update(max_rate=0.001)
        make_readers(newsletter, 50)
        issue = send(newsletter)
    else:
        issue = issue_for(50)
    link = Link()
    free = asyncio.Event()

    async def hang(_: int) -> Any:
        await free.wait()
        return SENT

    if wait == "window":
        link.act = hang
    if wait == "connection":
        link.on_open = hang

    async def act(courier: Courier) -> float:
        serving = asyncio.ensure_future(courier.serve(issue.pk))
        while not courier._lanes:  # noqa: ASYNC110  # a courier has no event for it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        courier.drain()
        began = loop.time()
        # A mail in flight is waited for only so long, and then goes on by itself.
        await serving
        seconds = loop.time() - began
        free.set()
        return seconds

    # Whoever is not let go waits for minutes: for the end of the slice, the next permit or the relay.
    assert with_courier(loop, link, act) < courier_module.STRAGGLER_SECONDS + 60.0
    assert set(states(issue)) <= {"sent", "queued"}
