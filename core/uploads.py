"""A request's body as a file, read in pieces and never held whole."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

from django.http import HttpRequest, UnreadablePostError

from core.errors import BadRequestError, TooLargeError

BLOCK_BYTES = 64 * 1024
MOST_DISCARDED = 64_000_000
DISCARD_SECONDS = 10


class _Body(io.RawIOBase):
    """Ends only where Content-Length says: a client that hangs up early has not sent a shorter file."""

    def __init__(self, request: HttpRequest, length: int, observe: Callable[[bytes], object]) -> None:
        super().__init__()
        self._observe = observe
        self._request = request
        self._missing = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # always a memoryview from BufferedReader
        data = self._request.read(len(buffer))
        if not data and self._missing > 0:
            raise BadRequestError("body_incomplete", "The body ended before its Content-Length.")
        buffer[: len(data)] = data
        self._missing -= len(data)
        self._observe(data)
        return len(data)


def open_body(request: HttpRequest, *, max_bytes: int, observe: Callable[[bytes], object] = len) -> io.BufferedReader:
    """Return the body as a binary file; `observe` is given each piece as it is read, such as a hash's `update`.

    Raises BadRequestError `length_required` without a Content-Length, TooLargeError `body_too_large` above
    `max_bytes`; reading raises BadRequestError `body_incomplete` when the client stops early.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        raise BadRequestError("length_required", "Send the body with a Content-Length.")
    if int(length) > max_bytes:
        raise TooLargeError("body_too_large", f"The body has at most {max_bytes // 1_000_000} MB.")
    return io.BufferedReader(_Body(request, int(length), observe), BLOCK_BYTES)


def whole_body(request: HttpRequest) -> bytes:
    """Return the body. Raises BadRequestError `body_incomplete` when the client stopped before its Content-Length."""
    body = request.body
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and len(body) < int(length):
        raise BadRequestError("body_incomplete", "The body ended before its Content-Length.")
    return body


def discard_rest(request: HttpRequest) -> None:
    """Read what is left of the body, for about 10 s and nothing of one declared with more than 64 MB.

    A server that answers and closes while the client still sends resets the connection, and the client
    sees that instead of the answer (RFC 9112, 9.6).
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal() or int(length) > MOST_DISCARDED:
        return
    until = time.monotonic() + DISCARD_SECONDS
    try:
        while time.monotonic() < until and request.read(BLOCK_BYTES):
            pass
    except UnreadablePostError:
        # The client has gone, and the answer with it.
        return
