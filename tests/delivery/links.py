"""The four kinds of link to a relay that every promise about a mail transaction holds for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from unittest import mock

from newsletters.delivery import transaction
from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome
from newsletters.delivery.smtp import Relay, connect
from newsletters.delivery.transaction import SmtpConnection
from tests.delivery.authority import server_context
from tests.delivery.scripted_relay import ScriptedRelay

T = TypeVar("T")
MAIL = Mail("bounces+x@gazette.example", "ada@example.org", b"Subject: hi\r\n\r\n.leading dot\r\nend\r\n")
# A relay that falls silent is waited for so long.
SHORT_SECONDS = 0.1
PIPELINED, ONE_BY_ONE, STARTTLS, TLS = LINKS = ("pipelined", "one by one", "STARTTLS", "TLS")


def make_relay(link: str, answers: dict[str, str] | None = None) -> ScriptedRelay:
    """Return a relay for this kind of link."""
    tls = server_context() if link in (STARTTLS, TLS) else None
    return ScriptedRelay(answers or {}, pipelining=link != ONE_BY_ONE, tls=tls, starttls=link == STARTTLS)


async def until(done: Callable[[], bool]) -> None:
    """Return as soon as `done()` is true; raise TimeoutError if it never is."""
    async with asyncio.timeout(120):
        while not done():  # noqa: ASYNC110  # neither a relay nor a connection has an event for it
            await asyncio.sleep(0.01)


def run(relay: ScriptedRelay, act: Callable[[SmtpConnection], Awaitable[T]], *, silent: str = "") -> T:
    """Connect to the relay and act. The deadline of the phase that is `silent` is short.

    All others last as long as ever, so that a machine with much to do is not taken for a silent relay elsewhere.
    """

    async def main() -> T:
        async with relay.running():
            tls, starttls = relay.tls is not None and not relay.starttls, relay.starttls
            connection = await connect(Relay(relay.host, relay.port, use_tls=tls, use_starttls=starttls))
            try:
                return await act(connection)
            finally:
                connection.close()
                await asyncio.sleep(0.01)

    with contextlib.ExitStack() as stack:
        for name in (f"{silent.upper()}_SECONDS", "TICK_SECONDS") if silent else ():
            stack.enter_context(mock.patch.object(transaction, name, SHORT_SECONDS))
        return asyncio.run(main())


async def attempt(connection: SmtpConnection) -> tuple[Outcome, bool]:
    """Send MAIL; returns the outcome and whether the connection is fit for another."""
    return await connection.send(MAIL), connection.usable
