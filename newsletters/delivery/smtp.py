"""One SMTP connection: connecting, TLS and AUTH by aiosmtplib, the mail transaction ours.

Libraries raise one exception for a link that broke before the final dot (safe to repeat) and after it
(nobody knows, RFC 1047). Here the phase is known at every moment. MAIL, RCPT and DATA go out in one
write when the relay offers PIPELINING (RFC 2920).
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import re
from typing import Protocol

import aiosmtplib

from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome, Phase, Reply, Verdict, classify, cut, read_reply

MAX_REPLY_BYTES = 65_536
GARBAGE = Reply(code=0, status=None, text="The relay did not speak SMTP.")
# RFC 5321, 4.5.3.2: seconds to wait for each reply. A hasty time-out at the dot makes duplicates.
DEADLINES = {Phase.MAIL: 300, Phase.RCPT: 300, Phase.DATA: 120, Phase.BODY: 180, Phase.DOT: 600}
CONNECT_SECONDS = 30
RESET_SECONDS = 30
SERVICE_CLOSING = 421
START_MAIL_INPUT = 354
_LINE = re.compile(rb"([2-5]\d\d)([ -])?(.*)", re.DOTALL)


class RelayFaultError(Exception):
    """No connection could be made ready; `outcome` says why and whether that is permanent."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Connection(Protocol):
    """Something that attempts one mail after another."""

    @property
    def usable(self) -> bool:
        """Whether another mail may be attempted on it."""

    async def send(self, mail: Mail) -> Outcome:
        """Attempt one mail; never raises for anything the relay does."""

    def close(self) -> None:
        """Let go of it at once."""


@dataclasses.dataclass(frozen=True)
class Relay:
    """Where mail is handed over: Django's EMAIL_* settings."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    use_starttls: bool = False
    use_tls: bool = False


class ReplyReader(asyncio.Protocol):
    """Parses replies from the wire into a queue, so that pipelined replies are never lost."""

    def __init__(self) -> None:
        self.closed = False
        self._buffer = bytearray()
        self._lines: list[bytes] = []
        self._replies: collections.deque[Reply] = collections.deque()
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._take(bytes(line).rstrip(b"\r"))
        if len(self._buffer) > MAX_REPLY_BYTES or len(self._lines) > MAX_REPLY_BYTES // 64:
            self._replies.append(GARBAGE)
        self._wake()

    def _take(self, line: bytes) -> None:
        found = _LINE.fullmatch(line)
        if found is None:
            self._replies.append(GARBAGE)
            return
        self._lines.append(found[3])
        if found[2] != b"-":
            self._replies.append(read_reply(int(found[1]), b" ".join(self._lines)))
            self._lines = []

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def unread(self) -> bool:
        """Whether the relay has said something that nobody asked for yet."""
        return bool(self._replies)

    async def drained(self, seconds: float) -> None:
        """Wait until everything written has left. Raises TimeoutError."""
        if not self._writable.is_set():
            async with asyncio.timeout(seconds):
                await self._writable.wait()

    async def reply(self, seconds: float) -> Reply:
        """Return the next reply. Raises ConnectionError when the link is gone, TimeoutError when it is late."""
        if self._replies:
            return self._replies.popleft()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._expire)
        try:
            while not self._replies:
                if self.closed:
                    raise ConnectionResetError
                self._waiter = loop.create_future()
                await self._waiter
        finally:
            timer.cancel()
        return self._replies.popleft()

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())


class SmtpConnection:
    """A connected, authenticated link that delivers one mail at a time."""

    def __init__(self, transport: asyncio.Transport, *, pipelining: bool, timeout_scale: float = 1.0) -> None:
        self._transport = transport
        self._reader = ReplyReader()
        self._pipelining = pipelining
        self._scale = timeout_scale
        self._broken = False
        self._phase = Phase.MAIL
        self._refusal: Outcome | None = None
        transport.set_protocol(self._reader)
        # With no buffer of its own, "drained" means that the kernel has every byte.
        transport.set_write_buffer_limits(high=0)

    @property
    def usable(self) -> bool:
        return not (self._broken or self._reader.closed or self._reader.unread or self._transport.is_closing())

    def close(self) -> None:
        """Say QUIT without waiting for the answer, and close."""
        if self.usable:
            self._transport.write(b"QUIT\r\n")
        self._broken = True
        self._transport.close()

    async def send(self, mail: Mail) -> Outcome:
        """Attempt one mail. After anything but a clean end the connection is no longer `usable`."""
        self._phase, self._refusal = Phase.MAIL, None
        try:
            return await self._transact(mail)
        except (TimeoutError, OSError) as error:
            # ConnectionError is an OSError; so is TimeoutError since Python 3.11.
            self._broken = True
            reason = "timed_out" if isinstance(error, TimeoutError) else "connection_cut"
            return self._refusal or cut(self._phase, reason)

    async def _transact(self, mail: Mail) -> Outcome:
        commands = (
            (Phase.MAIL, f"MAIL FROM:<{mail.envelope_sender}>\r\n".encode("ascii")),
            (Phase.RCPT, f"RCPT TO:<{mail.recipient}>\r\n".encode("ascii")),
            (Phase.DATA, b"DATA\r\n"),
        )
        if self._pipelining:
            self._transport.write(b"".join(line for _, line in commands))
        for phase, line in commands:
            if not self._pipelining:
                if self._refusal:
                    break
                self._transport.write(line)
            self._phase = phase
            reply = await self._reply()
            if phase is Phase.DATA and reply.code == START_MAIL_INPUT:
                if self._refusal is None:
                    return await self._body(mail.data)
                # The relay wants a body although it refused the mail: an empty one, never counted.
                self._transport.write(b".\r\n")
                await self._reply()
            elif phase is Phase.DATA or not reply.positive:
                self._refusal = self._refusal or classify(phase, reply)
                self._broken = self._broken or reply.code in (SERVICE_CLOSING, GARBAGE.code)
        assert self._refusal is not None
        await self._reset()
        return self._refusal

    async def _reply(self) -> Reply:
        return await self._reader.reply(DEADLINES[self._phase] * self._scale)

    async def _body(self, data: bytes) -> Outcome:
        """Write the message, wait until it has left, then the final dot on its own."""
        self._phase = Phase.BODY
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        self._transport.write(b"." + stuffed if stuffed.startswith(b".") else stuffed)
        await self._reader.drained(DEADLINES[Phase.BODY] * self._scale)
        if self._reader.closed or self._reader.unread:
            # The relay gave up before the dot: whatever it said, nothing was accepted.
            self._broken = True
            return cut(Phase.BODY, "connection_cut")
        # From this write on a lost reply is uncertain.
        self._phase = Phase.DOT
        self._transport.write(b".\r\n")
        reply = await self._reply()
        outcome = classify(Phase.DOT, reply)
        self._broken = reply.code == SERVICE_CLOSING or outcome.verdict is Verdict.UNCERTAIN
        return outcome

    async def _reset(self) -> None:
        """Begin afresh after a refusal; a relay that cannot even do that is left."""
        if not self._broken:
            self._transport.write(b"RSET\r\n")
            self._broken = not (await self._reader.reply(RESET_SECONDS * self._scale)).positive


async def connect(relay: Relay, *, timeout_scale: float = 1.0) -> SmtpConnection:
    """Return a ready connection. Raises RelayFaultError, permanent for a 5xx at banner, EHLO or AUTH."""
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username or None,
        password=relay.password or None,
        use_tls=relay.use_tls,
        start_tls=relay.use_starttls,
        timeout=CONNECT_SECONDS * timeout_scale,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        # The library keeps bytes that are not UTF-8 as lone surrogates.
        text = error.message.encode("utf-8", "surrogateescape")
        raise RelayFaultError(classify(Phase.CONNECT, read_reply(error.code, text))) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        client.close()
        raise RelayFaultError(cut(Phase.CONNECT, "cannot_connect")) from error
    transport = client.transport
    if not isinstance(transport, asyncio.Transport):
        raise RelayFaultError(cut(Phase.CONNECT, "connection_cut"))
    return SmtpConnection(transport, pipelining=client.supports_extension("pipelining"), timeout_scale=timeout_scale)
