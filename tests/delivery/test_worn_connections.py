"""How long a connection lasts: the relay may end it, and we replace it in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from newsletters.delivery.replies import Outcome, Verdict
from newsletters.delivery.smtp import Relay, connect
from newsletters.delivery.transaction import SmtpConnection
from tests.delivery.authority import trust
from tests.delivery.links import LINKS, MAIL, make_relay, run, until
from tests.delivery.scripted_relay import ScriptedRelay


@pytest.fixture(autouse=True)
def _trust(monkeypatch: pytest.MonkeyPatch) -> None:
    trust(monkeypatch)


@pytest.mark.parametrize("link", LINKS)
def test_a_relay_that_ends_a_used_connection_is_not_at_fault(link: str) -> None:
    relay = make_relay(link)
    relay.most_mails = 2

    async def thrice(connection: SmtpConnection) -> list[Outcome]:
        return [await connection.send(MAIL) for _ in range(3)]

    last = run(relay, thrice)[-1]
    assert (last.verdict, last.reason, last.permanent) == (Verdict.RELAY_FAULT, "connection_ended", False)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("goodbye", [b"421 4.4.2 idle\r\n", b"42", b""])
def test_a_connection_that_the_relay_ends_while_it_is_idle_is_noticed(goodbye: bytes, link: str) -> None:
    relay = make_relay(link)

    async def idle(connection: SmtpConnection) -> tuple[bool, bool, str | None]:
        await connection.send(MAIL)
        before = connection.usable
        writer = relay.writers[0]
        writer.write(goodbye)
        if not goodbye:
            writer.close()
        await until(lambda: not connection.usable)
        return before, connection.usable, (await connection.send(MAIL)).reason

    assert run(relay, idle) == (True, False, "connection_ended")


def last_of(act: Callable[[SmtpConnection], Any], **terms: Any) -> tuple[ScriptedRelay, Any]:
    relay = ScriptedRelay()

    async def main() -> Any:
        async with relay.running():
            connection = await connect(Relay("127.0.0.1", relay.port, **terms))
            answer = await act(connection)
            connection.close()
            await asyncio.sleep(0.01)
            return answer

    return relay, asyncio.run(main())


def test_a_connection_is_worn_out_after_its_number_of_mails_and_says_goodbye() -> None:
    async def thrice(connection: SmtpConnection) -> list[bool]:
        return [bool(await connection.send(MAIL)) and connection.usable for _ in range(3)]

    relay, usable = last_of(thrice, most_mails=3)
    assert usable == [True, True, False]
    assert relay.commands[-1] == "QUIT"


def test_a_connection_is_worn_out_after_its_time_but_not_in_the_middle_of_a_mail() -> None:
    async def wait(connection: SmtpConnection) -> tuple[bool, Verdict]:
        connection._old_at = 0
        return connection.usable, (await connection.send(MAIL)).verdict

    relay, told = last_of(wait, most_seconds=300)
    assert told == (False, Verdict.SENT)
    assert relay.commands[-1] == "QUIT"
