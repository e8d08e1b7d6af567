"""A request's body as a file, read in pieces and never held whole."""

from __future__ import annotations

import io

from django.http import HttpRequest

from core.errors import BadRequestError, TooLargeError

BLOCK_BYTES = 64 * 1024


class _Body(io.RawIOBase):
    """Ends only where Content-Length says: a client that hangs up early has not sent a shorter file."""

    def __init__(self, request: HttpRequest, length: int) -> None:
        super().__init__()
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
        return len(data)


def open_body(request: HttpRequest, *, max_bytes: int) -> io.BufferedReader:
    """Return the body as a binary file.

    Raises BadRequestError `length_required` without a Content-Length, TooLargeError `body_too_large` above
    `max_bytes`; reading raises BadRequestError `body_incomplete` when the client stops early.
    """
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isdecimal():
        raise BadRequestError("length_required", "Send the body with a Content-Length.")
    if int(length) > max_bytes:
        raise TooLargeError("body_too_large", f"The body has at most {max_bytes // 1_000_000} MB.")
    return io.BufferedReader(_Body(request, int(length)), BLOCK_BYTES)
