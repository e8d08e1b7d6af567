"""An SMTP server that takes every mail, writes down what it took and answers as a script says.

Run as a program: `python smtp_sink.py PORT FOLDER [narrow]`; a narrow one takes small pieces into small
buffers, so that a mail of some 100 KB does not fit into them. `connections` in the folder gets a byte for
each. The ledger, `ledger.jsonl` in the folder, gets a line for a mail after its final dot and before the
reply, which is when responsibility passes on (RFC 5321, 6.1). `script.json`
maps a recipient, or "*" for all others, to what happens to it:

    mail, rcpt, data, dot   the reply at that phase, such as "450 4.2.1 try later" (nothing is taken)
    banner, auth            the reply to a connection and to AUTH; only for "*"
    drip                    seconds between two bytes of the banner; only for "*"
    hang                    rcpt, body or dot: answer no more from there; at body read no more, at dot take the mail
    lose_reply              true: take the mail and cut the connection instead of answering
    delay                   seconds between the ledger's line and the reply
    times                   how often this happens before the recipient becomes an ordinary one

The script is read again whenever it changes.
"""

from __future__ import annotations

import asyncio
import base64
import email.parser
import hashlib
import json
import os
import re
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

GREETING = "220 sink.example.test ESMTP"
CAPABILITIES = ("sink.example.test", "PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "AUTH PLAIN")
END = b"\r\n.\r\n"
PATH = re.compile(rb"(?:MAIL FROM|RCPT TO):\s*<([^>]*)>", re.IGNORECASE)
BARE_NEWLINE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
LONGEST_MAIL = 64 * 1024 * 1024


def _version(facts: os.stat_result) -> tuple[int, ...]:
    """Tell two scripts apart, also when they were written within one tick of the clock."""
    return facts.st_ino, facts.st_mtime_ns, facts.st_size


class Script:
    """What is to happen to whom, from a file that tests may change while the sink runs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, ...] = ()
        self._entries: dict[str, dict[str, Any]] = {}
        self._used: Counter[str] = Counter()

    def entry(self, recipient: str, *, begin: bool = False) -> dict[str, Any]:
        """Return the recipient's entry; `begin` counts one more transaction for it."""
        self._refresh()
        name = recipient if recipient in self._entries else "*"
        entry = self._entries.get(name, {})
        if begin:
            self._used[name] += 1
        return {} if self._used[name] > entry.get("times", sys.maxsize) else entry

    def _refresh(self) -> None:
        if not self._path.exists() or self._version == _version(self._path.stat()):
            return
        with self._path.open() as script:
            # Of this very file: another may have taken its place since.
            self._version = _version(os.fstat(script.fileno()))
            self._entries = json.load(script)
        self._used.clear()


class Sink:
    """The state that all connections share: the ledger, the mails and the script."""

    def __init__(self, folder: Path) -> None:
        self.script = Script(folder / "script.json")
        self._ledger = (folder / "ledger.jsonl").open("ab", buffering=0)
        self._tally = (folder / "connections").open("ab", buffering=0)
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak SMTP on one connection until the client leaves."""
        self.connections += 1
        self._tally.write(b".")
        session = Session(self, reader, writer, number=self.connections)
        try:
            await session.run()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def take(self, sender: str, recipients: list[str], data: bytes, connection: int, *, replied: bool) -> None:
        """Write the mail down: from here on it counts as accepted. `replied` says whether its reply is to be sent."""
        headers = email.parser.BytesHeaderParser().parsebytes(data)
        line = {
            "message_id": str(headers.get("Message-ID", "")).strip(),
            "sender": sender,
            "recipients": recipients,
            "sha256": hashlib.sha256(data).hexdigest(),
            "connection": connection,
            "replied": replied,
            "bare_newlines": bool(BARE_NEWLINE.search(data)),
            "data": base64.b64encode(data).decode(),
        }
        self._ledger.write(json.dumps(line).encode() + b"\n")


class Session:
    """One connection."""

    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, number: int) -> None:
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._number = number
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._greet()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            verb = line.split(b" ", 1)[0].strip().upper().decode("ascii", "replace")
            if verb == "QUIT":
                await self._say("221 2.0.0 bye")
                return
            answer = getattr(self, f"_on_{verb.lower()}", None)
            if answer is None:
                await self._say("500 5.5.2 no such command")
            elif not await answer(line):
                return

    async def _greet(self) -> None:
        entry = self._sink.script.entry("*")
        greeting = entry.get("banner", GREETING)
        if "drip" in entry:
            for number in range(len(greeting)):
                self._writer.write(greeting[number : number + 1].encode())
                await self._writer.drain()
                await asyncio.sleep(entry["drip"])
            greeting = ""
        await self._say(greeting)

    async def _on_auth(self, _line: bytes) -> bool:
        return await self._say(self._sink.script.entry("*").get("auth", "235 2.7.0 ok"))

    async def _on_ehlo(self, _line: bytes) -> bool:
        *first, last = CAPABILITIES
        return await self._say("\r\n".join([*(f"250-{word}" for word in first), f"250 {last}"]))

    async def _on_helo(self, _line: bytes) -> bool:
        return await self._say("250 sink.example.test")

    async def _on_noop(self, _line: bytes) -> bool:
        return await self._say("250 2.0.0 ok")

    async def _on_rset(self, _line: bytes) -> bool:
        self._reset()
        return await self._say("250 2.0.0 ok")

    async def _on_mail(self, line: bytes) -> bool:
        self._reset()
        path = PATH.match(line)
        if path is None:
            return await self._say("501 5.5.4 MAIL FROM:<address>")
        reply = self._sink.script.entry("*").get("mail")
        if reply is None:
            self._sender = path[1].decode()
        return await self._say(reply or "250 2.1.0 ok")

    async def _on_rcpt(self, line: bytes) -> bool:
        path = PATH.match(line)
        if self._sender is None or path is None:
            return await self._say("503 5.5.1 MAIL first")
        recipient = path[1].decode()
        entry = self._sink.script.entry(recipient, begin=True)
        if entry.get("hang") == "rcpt":
            await self._hang()
        reply = entry.get("rcpt")
        if reply is None:
            self._recipients.append(recipient)
        return await self._say(reply or "250 2.1.5 ok")

    async def _on_data(self, _line: bytes) -> bool:
        if self._sender is None or not self._recipients:
            return await self._say("554 5.5.1 no valid recipients")
        entry = self._sink.script.entry(self._recipients[0])
        if "data" in entry:
            return await self._say(entry["data"])
        await self._say("354 end with a dot")
        if entry.get("hang") == "body":
            self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport reads as well
            await self._hang()
        data = await self._read_mail()
        if "dot" in entry:
            self._reset()
            return await self._say(entry["dot"])
        hangs = entry.get("hang") == "dot"
        replied = not (hangs or entry.get("lose_reply"))
        self._sink.take(self._sender, self._recipients, data, self._number, replied=replied)
        self._reset()
        if hangs:
            await self._hang()
        await asyncio.sleep(entry.get("delay", 0))
        if not replied:
            self._writer.transport.abort()
            return False
        return await self._say("250 2.0.0 taken")

    async def _read_mail(self) -> bytes:
        """Return the mail without its final dot and without dot-stuffing."""
        raw = bytearray(b"\r\n")
        while not raw.endswith(END):
            raw += await self._reader.readuntil(b".\r\n")
        return bytes(raw).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.").removeprefix(b"\r\n")

    async def _say(self, reply: str) -> bool:
        self._writer.write(reply.encode() + b"\r\n")
        await self._writer.drain()
        # As RFC 5321, 3.8 wants: the server closes after 421.
        return not reply.startswith("421")

    async def _hang(self) -> None:
        """Say nothing more for as long as any test lasts."""
        await asyncio.sleep(3600)

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []


async def main(port: int, folder: Path, *, narrow: bool) -> None:
    """Serve until the process is ended."""
    sink = Sink(folder)
    door = socket.create_server(("127.0.0.1", port), backlog=1024)
    if narrow:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    server = await asyncio.start_server(sink.serve, sock=door, limit=LONGEST_MAIL, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), narrow="narrow" in sys.argv[3:]))
