"""An SMTP server that answers each command after a delay: `python slow_sink.py PORT SECONDS DOMAIN SECONDS`.

Recipients at DOMAIN (none if that is empty) are answered after their own delay, as a tarpit does; the replies behind
it wait.

A pipelined group (RFC 2920) costs one delay: each command is answered so long after it arrived, and they arrive
together. So MAIL, RCPT and DATA in one write cost one delay, body and final dot another, and nothing can send more
than `connections / (2 * delay)` mails a second through it.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from typing import cast

END = b"\r\n.\r\n"
BACKLOG = 1024
TINY = 1e-6
REPLIES = {
    b"EHLO": b"250-slow.example.test\r\n250-PIPELINING\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n"
    b"250 ENHANCEDSTATUSCODES\r\n",
    b"HELO": b"250 slow.example.test\r\n",
    b"MAIL": b"250 2.1.0 ok\r\n",
    b"RCPT": b"250 2.1.5 ok\r\n",
    b"DATA": b"354 end with a dot\r\n",
    b"RSET": b"250 2.0.0 ok\r\n",
    b"NOOP": b"250 2.0.0 ok\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}
UNKNOWN = b"500 5.5.2 no such command\r\n"
TAKEN = b"250 2.0.0 taken\r\n"


class Session(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay: float, tarpit: bytes, tarpit_delay: float) -> None:
        self._delay = delay
        self._tarpit = tarpit
        self._tarpit_delay = tarpit_delay
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._in_mail = False
        # Replies keep the order of their commands.
        self._last_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 slow.example.test ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        now = self._loop.time()
        # Timers of the same moment run in any order.
        self._last_at += TINY
        groups: dict[float, list[bytes]] = {}
        while (reply := self._next()) is not None:
            text, delay = reply
            self._last_at = max(self._last_at, now + delay)
            groups.setdefault(self._last_at, []).append(text)
        for at, replies in groups.items():
            self._loop.call_at(at, self._say, b"".join(replies))

    def _next(self) -> tuple[bytes, float] | None:
        """Return the reply to the next command or mail in the buffer, and its delay; None when it is not complete."""
        if self._in_mail:
            end = self._buffer.find(END)
            if end < 0:
                # Enough to find an end that is still on its way.
                self._buffer = self._buffer[-len(END) :]
                return None
            self._buffer = self._buffer[end + len(END) :]
            self._in_mail = False
            return TAKEN, self._delay
        line, newline, rest = self._buffer.partition(b"\r\n")
        if not newline:
            return None
        verb = line[:4].upper()
        self._in_mail = verb == b"DATA"
        # A mail may be empty: its end needs a line end before it.
        self._buffer = b"\r\n" + rest if self._in_mail else rest
        late = verb == b"RCPT" and self._tarpit and line.rstrip(b">").endswith(self._tarpit)
        return REPLIES.get(verb, UNKNOWN), self._tarpit_delay if late else self._delay

    def _say(self, replies: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(replies)
            if replies.endswith(REPLIES[b"QUIT"]):
                self._transport.close()


async def main(port: int, delay: float, tarpit: str, tarpit_delay: float) -> None:
    """Serve until the process is ended."""
    domain = f"@{tarpit}".encode() if tarpit else b""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Session(delay, domain, tarpit_delay), "127.0.0.1", port, backlog=BACKLOG)
    await server.serve_forever()


if __name__ == "__main__":
    # epoll waits for whole milliseconds, which would make each delay longer than it should be.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        port, delay, tarpit, tarpit_delay = sys.argv[1:]
        runner.run(main(int(port), float(delay), tarpit, float(tarpit_delay)))
