"""A relay that takes some time for each mail and counts what is under way to each domain and from each sender."""

from __future__ import annotations

import asyncio
import collections
import re
from collections.abc import Callable
from dataclasses import dataclass, field

ADDRESS = re.compile(r"<([^>]*)>")


@dataclass
class BusyRelay:
    """`answer` says what each RCPT is told, by its address; `seconds` what a mail takes, by its domain.

    A test that changes `seconds` lets go of mails that are kept for longer than it says now.
    A connection takes `most_mails`, and there are at most `most_connections`; 421 after that.
    """

    seconds: Callable[[str], float] = lambda _: 0.002
    answer: Callable[[str], str] = lambda _: "250 2.1.5 ok"
    most_mails: int = 1_000_000
    most_connections: int = 1_000_000
    sent: list[str] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    rcpts: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    held: int = 0
    most_held: int = 0
    refused: int = 0
    port: int = 0
    on_sent: Callable[[int], None] = lambda _: None
    by_domain: collections.Counter[str] = field(default_factory=collections.Counter)
    most_by_domain: collections.Counter[str] = field(default_factory=collections.Counter)
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for conversation in self._open:
            conversation.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(asyncio.ensure_future(self._hold(reader, writer)))

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.held += 1
        try:
            if self.held > self.most_connections:
                self.refused += 1
                writer.write(b"421 4.7.0 too many connections\r\n")
                await writer.drain()
                return
            self.most_held = max(self.most_held, self.held)
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.held -= 1
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 relay\r\n")
        mails, recipient = 0, ""
        while line := (await reader.readline()).decode().strip():
            verb, reply = line.split()[0].upper(), "250 ok"
            if verb == "EHLO":
                reply = "250-relay\r\n250 ENHANCEDSTATUSCODES"
            elif verb == "MAIL":
                mails += 1
                if mails > self.most_mails:
                    reply = "421 4.7.0 maximum message count per session reached"
            elif verb == "RCPT":
                recipient = ADDRESS.findall(line)[0]
                reply = self.answer(recipient)
                self.rcpts.append(recipient)
            elif verb == "DATA":
                writer.write(b"354 go\r\n")
                await self._take(reader, recipient)
                reply = "250 2.0.0 ok"
            elif verb == "QUIT":
                return
            writer.write(f"{reply}\r\n".encode())
            await writer.drain()
            if reply.startswith("421"):
                return

    async def _take(self, reader: asyncio.StreamReader, recipient: str) -> None:
        domain = recipient.rpartition("@")[2]
        self.under_way += 1
        self.by_domain[domain] += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.most_by_domain[domain] = max(self.most_by_domain[domain], self.by_domain[domain])
        try:
            while await reader.readuntil(b"\r\n") != b".\r\n":
                pass
            await self._rest(domain)
            self.sent.append(recipient)
            self.sent_at.append(asyncio.get_running_loop().time())
        finally:
            self.under_way -= 1
            self.by_domain[domain] -= 1
        self.on_sent(len(self.sent))

    async def _rest(self, domain: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(0)
        while (left := began + self.seconds(domain) - loop.time()) > 0:  # noqa: ASYNC110  # `seconds` is no event
            await asyncio.sleep(min(left, 0.05))
