"""The link between a process and its PostgreSQL, which a test can freeze at a statement."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self


class DatabaseLink:
    """Passes every byte on, until a message with a given word comes from the client.

    `freeze_before` keeps that message from the server; `freeze_after` passes it on and keeps the reply from the
    client. `frozen` is set then, and nothing passes on that connection any more.
    """

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._word: bytes | None = None
        self._passes_word = False
        self.frozen = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._sockets: list[socket.socket] = []

    def freeze_before(self, word: bytes) -> None:
        self._word, self._passes_word = word, False

    def freeze_after(self, word: bytes) -> None:
        self._word, self._passes_word = word, True

    def thaw(self) -> None:
        """Let later connections pass."""
        self._word = None
        self.frozen.clear()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._close(self._listener)
        # What it has just accepted is in the list once it has ended.
        self._threads[0].join(5)
        self._close(*self._sockets)
        for thread in self._threads:
            thread.join(5)

    @staticmethod
    def _close(*sockets: socket.socket) -> None:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                still = threading.Event()
                for source, target in ((client, server), (server, client)):
                    thread = threading.Thread(target=self._pass, args=(source, target, still), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, target: socket.socket, still: threading.Event) -> None:
        from_client = target.getpeername() == self._server
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                found = from_client and self._word is not None and self._word in data
                if found:
                    still.set()
                if not still.is_set() or (found and self._passes_word):
                    target.sendall(data)
                if found:
                    self.frozen.set()
            target.shutdown(socket.SHUT_RDWR)
