"""A TCP proxy in the test's own process, so that one link of a program can fail while its server works on."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
import struct
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from tests.services.processes import free_port

# Close by RST, not by FIN.
AT_ONCE = struct.pack("ii", 1, 0)
PIECE = 65_536


class Mode(enum.Enum):
    """What becomes of connections: carried, left without a byte more, refused, or reset as soon as they are made."""

    FORWARD = "forward"
    SILENT = "silent"
    REFUSE = "refuse"
    RESET = "reset"


class TcpProxy:
    """Carries connections made to `host:port` to a port of 127.0.0.1; `turn` says how they fare from now on."""

    def __init__(self, target: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.host = host
        self.port = free_port()
        # What clients speak TLS with, from the start of a connection on; the target is spoken to in plain text.
        self.tls = tls
        # Set once a connection is held as `hold_replies_after` or `hold_before` asked for.
        self.held = threading.Event()
        self._target = target
        self._words: tuple[bytes, ...] = ()
        self._last_passes = True
        self._mode = Mode.FORWARD
        self._flows = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {target}", daemon=True)
        self._thread.start()
        self._do(self._turn(Mode.FORWARD))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def turn(self, mode: Mode) -> None:
        """Change what becomes of connections. REFUSE and RESET also reset those that are open."""
        self._do(self._turn(mode))

    def reset(self) -> None:
        """Reset every open connection, wherever its conversation is; new ones fare as before."""
        self._do(self._reset())

    def hold_replies_after(self, *words: bytes) -> None:
        """Keep back all replies on a connection once its client has said these one after the other; they pass."""
        self._words, self._last_passes = words, True

    def hold_before(self, *words: bytes) -> None:
        """Keep back the last of these words and all that follows, in both directions, once a client has said them."""
        self._words, self._last_passes = words, False

    def let_go(self) -> None:
        """Carry connections that are made from now on, whatever their clients say."""
        self._words = ()
        self.held.clear()

    def stop(self) -> None:
        """Cut everything and end the thread."""
        self._do(self._turn(Mode.REFUSE))
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, act: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(20)

    async def _turn(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        if mode in (Mode.REFUSE, Mode.RESET):
            await self._reset()
        if mode is Mode.SILENT:
            self._flows.clear()
        else:
            self._flows.set()
        if mode is not Mode.REFUSE and self._server is None:
            self._server = await asyncio.start_server(self._carry, self.host, self.port, backlog=1024)

    async def _reset(self) -> None:
        for writer in self._writers:
            link: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            writer.transport.abort()
        # Transports close in the loop's next round.
        await asyncio.sleep(0)

    async def _end(self) -> None:
        # Their links are gone.
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        beyond: asyncio.StreamWriter | None = None
        try:
            if self._mode is Mode.RESET:
                await self._reset()
                return
            await self._flows.wait()
            if self.tls is not None:
                await writer.start_tls(self.tls)
            other, beyond = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(beyond)
            heard = asyncio.Event()
            heard.set()
            pumps = [
                asyncio.ensure_future(self._pump(reader, beyond, heard, asks=True)),
                asyncio.ensure_future(self._pump(other, writer, heard, asks=False)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            for one in (writer, beyond):
                if one is not None:
                    self._writers.discard(one)
                    one.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: asyncio.Event, *, asks: bool
    ) -> None:
        said, passes = 0, True
        while True:
            piece = await reader.read(PIECE)
            # In silence not even the end of a connection is heard.
            await self._flows.wait()
            if not piece:
                return
            if asks and said < len(self._words) and self._words[said] in piece:
                said += 1
                if said == len(self._words):
                    heard.clear()
                    passes = self._last_passes
            if not asks:
                await heard.wait()
            if passes:
                writer.write(piece)
                await writer.drain()
            if asks and not heard.is_set():
                self.held.set()
