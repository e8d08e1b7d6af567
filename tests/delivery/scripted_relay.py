"""A relay that says exactly what a test tells it to, phase by phase, on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

CUT = "cut"
SILENT = "silent"
ACCEPT = {
    "banner": "220 relay ESMTP",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go",
    "dot": "250 2.0.0 ok",
}


@dataclass
class ScriptedRelay:
    """`answers` maps a phase (banner, mail, rcpt, data, dot) to a reply line, CUT or SILENT."""

    answers: dict[str, str] = field(default_factory=dict)
    pipelining: bool = True
    bodies: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    on_body: Callable[[int], None] = lambda _: None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(asyncio.ensure_future(self._converse(reader, writer)))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._say(writer, "banner")
            while line := (await reader.readline()).decode().strip():
                self.commands.append(line)
                await self._answer(line.split()[0].upper(), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, _Gone):
            return
        finally:
            writer.close()

    async def _answer(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if verb == "EHLO":
            extensions = "250-PIPELINING\r\n" if self.pipelining else ""
            writer.write(f"250-relay\r\n{extensions}250 ENHANCEDSTATUSCODES\r\n".encode())
        elif verb in ("MAIL", "RCPT"):
            await self._say(writer, verb.lower())
        elif verb == "DATA":
            await self._say(writer, "data")
            if self._reply("data").startswith("354"):
                self.bodies.append(await self._body(reader))
                self.on_body(len(self.bodies))
                await self._say(writer, "dot")
        elif verb == "QUIT":
            raise _Gone
        else:
            writer.write(b"250 ok\r\n")

    async def _body(self, reader: asyncio.StreamReader) -> bytes:
        lines = []
        while (line := await reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _reply(self, phase: str) -> str:
        return self.answers.get(phase, ACCEPT[phase])

    async def _say(self, writer: asyncio.StreamWriter, phase: str) -> None:
        reply = self._reply(phase)
        if reply == CUT:
            raise _Gone
        if reply == SILENT:
            await asyncio.Event().wait()
        # Lone surrogates stand for bytes that are not UTF-8.
        writer.write(reply.encode("utf-8", "surrogateescape") + b"\r\n")
        await writer.drain()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[ScriptedRelay]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
