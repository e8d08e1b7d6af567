"""A courier on an event loop in a thread of its own, as a worker process has one."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator

import pytest

from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.smtp import Relay, connect
from newsletters.models import Issue
from tests.delivery.acts import LIMITS, Deliver
from tests.delivery.scripted_relay import ScriptedRelay


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, as Dramatiq's AsyncIO middleware has."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    # A transport that was told to close does so in the loop's next rounds.
    loop.run_until_complete(asyncio.sleep(0.02))
    loop.close()


@pytest.fixture
def deliver(loop: asyncio.AbstractEventLoop) -> Deliver:
    """Serve an issue once through a scripted relay; `before` is called with the courier first."""

    def act(
        issue: Issue,
        relay: ScriptedRelay,
        *,
        limits: Limits = LIMITS,
        rounds: int = 1,
        before: Callable[[Courier], None] = lambda _: None,
    ) -> Courier:
        async def converse(courier_of: Callable[[int], Courier]) -> Courier:
            async with relay.running():
                courier = courier_of(relay.port)
                courier.start()
                before(courier)
                try:
                    for _ in range(rounds):
                        courier._relay._rest_until = 0
                        await courier.serve(issue.pk)
                finally:
                    await asyncio.get_running_loop().run_in_executor(None, courier.stop)
                    await asyncio.sleep(0.02)
                return courier

        def courier_of(port: int) -> Courier:
            return Courier(loop, limits, functools.partial(connect, Relay("127.0.0.1", port)))

        return asyncio.run_coroutine_threadsafe(converse(courier_of), loop).result(timeout=600)

    return act
