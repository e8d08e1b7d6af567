"""Many couriers that serve one issue at once, each with its own memory as a process has."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Awaitable, Callable

from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.smtp import Connection, Relay, connect
from newsletters.models import Issue
from tests.delivery.scripted_relay import ScriptedRelay


def serve_with(
    loop: asyncio.AbstractEventLoop,
    issue: Issue,
    relay: ScriptedRelay,
    *,
    couriers: int,
    limits: Limits,
    rounds: int,
    terms: Relay | None = None,
) -> list[Courier]:
    """Serve an issue in rounds, in each by all couriers, then stop and return them.

    `terms` is how the relay is reached, its port that of `relay` unless it names one.
    """

    async def converse() -> list[Courier]:
        async with relay.running():
            reached = dataclasses.replace(terms or Relay("127.0.0.1", 0), port=(terms and terms.port) or relay.port)
            opened: Callable[[], Awaitable[Connection]] = functools.partial(connect, reached)
            crowd = [Courier(loop, limits, opened) for _ in range(couriers)]
            for courier in crowd:
                courier.start()
            for _ in range(rounds):
                for courier in crowd:
                    courier._relay._rest_until = 0
                await asyncio.gather(*(courier.serve(issue.pk) for courier in crowd))
            await asyncio.gather(*(loop.run_in_executor(None, courier.stop) for courier in crowd))
            await asyncio.sleep(0.05)
            return crowd

    return asyncio.run_coroutine_threadsafe(converse(), loop).result(timeout=600)
