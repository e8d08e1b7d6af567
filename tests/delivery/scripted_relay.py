"""A relay that says exactly what a test tells it to, phase by phase, on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

CUT = "cut"
# Not by FIN, as CUT, but by RST.
RESET = "reset"
SILENT = "silent"
# In the body's phase: read nothing of it until the test sets `go_on`.
STALL = "stall"
ACCEPT = {
    "banner": "220 relay ESMTP",
    "starttls": "220 go ahead",
    "auth": "235 2.7.0 ok",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go",
    "dot": "250 2.0.0 ok",
    "rset": "250 2.0.0 ok",
}


@dataclass
class ScriptedRelay:
    """`answers` maps a phase (see ACCEPT, and body, before the dot) to a reply line, CUT, RESET, SILENT or STALL.

    `tls` makes it speak TLS from the start, or after STARTTLS, which it then offers. `most_mails` is how many a
    connection takes, `most_connections` how many it holds; 421 after that. `helo_only` is an old one.
    """

    answers: dict[str, str] = field(default_factory=dict)
    pipelining: bool = True
    extensions: tuple[str, ...] = ("ENHANCEDSTATUSCODES",)
    tls: ssl.SSLContext | None = None
    starttls: bool = False
    helo_only: bool = False
    host: str = "127.0.0.1"
    most_mails: int = 1_000_000
    most_connections: int = 1_000_000
    bodies: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    held: int = 0
    port: int = 0
    on_body: Callable[[int], None] = lambda _: None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self._open.add(asyncio.ensure_future(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.held += 1
        try:
            if self.held > self.most_connections:
                await self._write(writer, "421 4.7.0 too many connections")
                return
            await self._say(writer, "banner")
            mails = 0
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                mails += line.startswith("MAIL")
                if mails > self.most_mails:
                    await self._write(writer, "421 4.7.0 maximum message count per session reached")
                    return
                await self._answer(line.split()[0].upper(), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, _Gone):
            return
        finally:
            self.held -= 1
            writer.close()

    async def _answer(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if verb == "EHLO":
            await self._greet(writer)
        elif verb == "STARTTLS":
            await self._say(writer, "starttls")
            assert self.tls is not None
            await writer.start_tls(self.tls)
        elif verb in ("MAIL", "RCPT", "AUTH", "RSET"):
            await self._say(writer, verb.lower())
        elif verb == "DATA":
            await self._say(writer, "data")
            if self._reply("data").startswith("354"):
                await self._take_body(reader, writer)
        elif verb == "QUIT":
            raise _Gone
        else:
            writer.write(b"250 ok\r\n")

    async def _greet(self, writer: asyncio.StreamWriter) -> None:
        if self.helo_only:
            await self._write(writer, "502 5.5.1 what")
            return
        words = [*self.extensions]
        if self.pipelining:
            words.insert(0, "PIPELINING")
        if self.starttls and writer.get_extra_info("ssl_object") is None:
            words.insert(0, "STARTTLS")
        *first, last = ["relay", *words]
        await self._write(writer, "\r\n".join([*(f"250-{word}" for word in first), f"250 {last}"]))

    async def _take_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.answers.get("body") == STALL:
            await self.go_on.wait()
        elif "body" in self.answers:
            await self._say(writer, "body")
            await self.go_on.wait()
        self.bodies.append(await self._body(reader))
        self.on_body(len(self.bodies))
        await self._say(writer, "dot")

    async def _body(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _reply(self, phase: str) -> str:
        return self.answers.get(phase) or ACCEPT[phase]

    async def _say(self, writer: asyncio.StreamWriter, phase: str) -> None:
        reply = self._reply(phase)
        if reply == RESET:
            link: socket.socket = writer.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if reply in (CUT, RESET):
            raise _Gone
        if reply == SILENT:
            await asyncio.Event().wait()
        await self._write(writer, reply)

    async def _write(self, writer: asyncio.StreamWriter, reply: str) -> None:
        # Lone surrogates stand for bytes that are not UTF-8.
        writer.write(reply.encode("utf-8", "surrogateescape") + b"\r\n")
        await writer.drain()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedRelay]:
        implicit = None if self.starttls else self.tls
        server = await asyncio.start_server(self._serve, self.host, self.port, ssl=implicit)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for conversation in self._open:
                conversation.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)


class _Gone(Exception):  # noqa: N818  # not an error: the relay hangs up
    pass
