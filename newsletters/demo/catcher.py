"""A real SMTP server on loopback that keeps every mail in a Maildir and delivers none."""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import time
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

HOST = "127.0.0.1"
MAX_MAIL_BYTES = 8 * 1024 * 1024


class MaildirHandler:
    """Stores each mail as one file, with the envelope in front as a delivery agent would put it."""

    def __init__(self, folder: Path) -> None:
        for part in ("tmp", "new", "cur"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._numbers = itertools.count()

    async def handle_DATA(  # noqa: N802  # aiosmtpd finds it by this name
        self, _server: SMTP, _session: Any, envelope: Envelope
    ) -> str:
        name = f"{time.time_ns():020d}.{next(self._numbers):06d}"
        head = f"Return-Path: <{envelope.mail_from}>\r\n"
        head += "".join(f"Delivered-To: {recipient}\r\n" for recipient in envelope.rcpt_tos)
        content = envelope.original_content or b""
        unfinished = self._folder / "tmp" / name
        # No fsync: this is a demonstration's mailbox, and a reader never sees a half-written file.
        unfinished.write_bytes(head.encode() + content)
        unfinished.rename(self._folder / "new" / name)
        return "250 2.0.0 Caught"


async def catch(folder: Path, port: int) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError when the port is taken."""
    # aiosmtpd writes several lines for each mail.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stopped.set)
    handler = MaildirHandler(folder)

    def session() -> SMTP:
        return SMTP(handler, data_size_limit=MAX_MAIL_BYTES, hostname="catcher.localhost", loop=loop)

    server = await loop.create_server(session, HOST, port)
    async with server:
        await stopped.wait()
