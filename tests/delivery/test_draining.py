"""The final dot leaves only after the last byte of the body has: what happens until then is safe to repeat."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from newsletters.delivery.replies import Outcome, Phase, Verdict
from newsletters.delivery.transaction import DOT, SmtpConnection
from tests.delivery.authority import trust
from tests.delivery.links import LINKS, MAIL, attempt, make_relay, run
from tests.delivery.scripted_relay import CUT, STALL

# More than the kernel's buffers of both sides hold.
LARGE = dataclasses.replace(MAIL, data=b"Subject: large\r\n\r\n" + (b"x" * 998 + b"\r\n") * 24_000)


@pytest.fixture(autouse=True)
def _trust(monkeypatch: pytest.MonkeyPatch) -> None:
    trust(monkeypatch)


async def attempt_large(connection: SmtpConnection) -> tuple[Outcome, bool]:
    return await connection.send(LARGE), connection.usable


@pytest.mark.parametrize("link", LINKS)
def test_a_large_mail_that_is_read_late_arrives_whole(link: str) -> None:
    relay = make_relay(link, {"body": STALL})

    async def act(connection: SmtpConnection) -> tuple[Outcome, list[bool]]:
        sending = asyncio.ensure_future(connection.send(LARGE))
        await asyncio.sleep(0.1)
        states = [connection._dot_written]
        relay.go_on.set()
        outcome = await sending
        return outcome, [*states, connection._dot_written]

    outcome, dot_written = run(relay, act)
    assert (outcome.verdict, dot_written) == (Verdict.SENT, [False, True])
    assert relay.bodies == [LARGE.data]


@pytest.mark.parametrize("link", LINKS)
def test_when_the_dot_is_written_the_kernel_has_the_whole_body(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[int] = []

    async def act(connection: SmtpConnection) -> Outcome:
        link_below = connection._below or connection._transport
        write = connection._transport.write

        def spy(data: bytes) -> None:
            if data == DOT:
                waiting.append(link_below.get_write_buffer_size())
            write(data)

        monkeypatch.setattr(connection._transport, "write", spy)
        return await connection.send(LARGE)

    assert run(make_relay(link), act).verdict is Verdict.SENT
    assert waiting == [0]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("words", [CUT, "552 5.3.4 too large", "250 2.0.0 thank you", "421 4.3.2 closing", "hello"])
def test_whatever_the_relay_does_before_the_dot_has_left_is_safe(words: str, link: str) -> None:
    outcome, usable = run(make_relay(link, {"body": words}), attempt_large)
    assert (outcome.verdict, outcome.phase, usable) == (Verdict.DEFERRED, Phase.BODY, False)


@pytest.mark.parametrize("link", LINKS)
def test_a_mail_given_up_before_its_dot_never_gets_one(link: str) -> None:
    relay = make_relay(link, {"body": STALL})

    async def give_up(connection: SmtpConnection) -> Outcome:
        outcome = await connection.send(LARGE)
        relay.go_on.set()
        await asyncio.sleep(0.2)
        return outcome

    outcome = run(relay, give_up, silent="body")
    assert (outcome.verdict, outcome.phase, outcome.reason) == (Verdict.DEFERRED, Phase.BODY, "timed_out")
    assert relay.bodies == []


@pytest.mark.parametrize("link", LINKS)
def test_a_mail_whose_sender_goes_away_is_given_up(link: str) -> None:
    relay = make_relay(link, {"body": STALL})

    async def cancel(connection: SmtpConnection) -> bool:
        sending = asyncio.ensure_future(connection.send(LARGE))
        await asyncio.sleep(0.05)
        sending.cancel()
        await asyncio.wait([sending])
        relay.go_on.set()
        await asyncio.sleep(0.1)
        return connection.usable

    assert run(relay, cancel) is False
    assert relay.bodies == []


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("more", ["\r\n250 2.0.0 ok", "\r\n554 no", "\r\n4"])
def test_words_that_come_with_the_go_ahead_spoil_it(more: str, link: str) -> None:
    outcome, usable = run(make_relay(link, {"data": "354 go" + more}), attempt)
    assert (outcome.verdict, outcome.phase, usable) == (Verdict.DEFERRED, Phase.BODY, False)


@pytest.mark.parametrize("link", LINKS)
def test_words_that_come_with_the_last_reply_end_the_connection_and_not_the_mail(link: str) -> None:
    outcome, usable = run(make_relay(link, {"dot": "250 2.0.0 ok\r\n421 4.4.2 bye"}), attempt)
    assert (outcome.verdict, usable) == (Verdict.SENT, False)


class FullTransport(asyncio.Transport):
    """A transport whose kernel takes the body and not one byte more, until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.connection: SmtpConnection | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, SmtpConnection)
        self.connection = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.connection is not None
        self.written += data
        if data == DOT:
            self.connection.pause_writing()

    def abort(self) -> None:
        self.aborted = True

    def say(self, words: bytes) -> None:
        assert self.connection is not None
        self.connection.get_buffer(-1)[: len(words)] = words
        self.connection.buffer_updated(len(words))


@pytest.mark.parametrize(("has_left", "phase"), [(False, Phase.BODY), (True, Phase.DOT)])
def test_a_dot_counts_from_when_it_has_left_and_is_held_back_when_the_mail_was_given_up(
    has_left: bool, phase: Phase
) -> None:
    async def act() -> tuple[Outcome, FullTransport]:
        transport = FullTransport()
        connection = SmtpConnection(transport, pipelining=True)
        sending = asyncio.ensure_future(connection.send(MAIL))
        await asyncio.sleep(0)
        transport.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        if has_left:
            connection.resume_writing()
        connection.eof_received()
        return await sending, transport

    outcome, transport = asyncio.run(act())
    assert transport.written.endswith(DOT)
    assert (outcome.phase, transport.aborted) == (phase, True)
    assert outcome.verdict is (Verdict.UNCERTAIN if has_left else Verdict.DEFERRED)
