"""An uploaded file of readers: copied, read to its end, and cut into parts that a worker reads one by one."""

from __future__ import annotations

import codecs
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from core.errors import CourantError, TooLargeError, UnsupportedMediaTypeError
from newsletters.audience.csv_file import Table, broken

MAX_BYTES = 50_000_000
MAX_ROWS = 1_000_000
BLOCK_BYTES = 1_000_000
# A worker holds two parts in memory and commits each in one transaction: about 0.2 s of work.
PART_ROWS = 5_000
PART_CHARACTERS = 1_000_000
# The first bytes of zip (and .xlsx), gzip, PNG, PDF, old Excel, bzip2, xz and 7z files.
_NOT_TEXT = tuple(
    map(
        bytes.fromhex,
        ["504b0304", "504b0506", "1f8b", "89504e47", "25504446", "d0cf11e0", "425a68", "fd377a585a", "377abcaf"],
    )
)


@dataclass(frozen=True)
class Part:
    """A CSV file made of the header and some rows; `position` rows stand before them, the first at `line`."""

    position: int
    line: int
    data: bytes


@dataclass(frozen=True)
class _Cut:
    """Where a part's rows stand in the copy: `size` bytes from `start`."""

    position: int
    line: int
    start: int
    size: int


@dataclass(frozen=True)
class Upload:
    """A file that can be read to its end; `total` counts its rows."""

    total: int
    _copy: IO[bytes]
    _header: bytes
    _cuts: list[_Cut]

    def parts(self) -> Iterator[Part]:
        """Yield the parts in their order; none for a file without rows."""
        for cut in self._cuts:
            self._copy.seek(cut.start)
            yield Part(cut.position, cut.line, self._header + self._copy.read(cut.size))


@contextmanager
def checked_upload(stream: IO[bytes]) -> Iterator[Upload]:
    """Give a copy of the file for as long as the context lasts.

    Raises InvalidError with the line, TooLargeError and UnsupportedMediaTypeError as `importing.accept` says.
    """
    with tempfile.SpooledTemporaryFile(max_size=2 * BLOCK_BYTES) as copy:
        _copy_text(stream, copy)
        copy.seek(0)
        header, cuts, total = _cut(copy)
        yield Upload(total, copy, header, cuts)


def _copy_text(stream: IO[bytes], copy: IO[bytes]) -> None:
    """Copy the upload, refusing what is too big or no UTF-8 text as soon as that shows."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    size = 0
    while block := stream.read(BLOCK_BYTES):
        if size == 0 and block.startswith(_NOT_TEXT):
            raise UnsupportedMediaTypeError(
                "import_not_csv", "This is an archive, a spreadsheet or an image; save the list as CSV (UTF-8)."
            )
        size += len(block)
        if size > MAX_BYTES:
            raise TooLargeError("import_too_large", f"A file has at most {MAX_BYTES // 1_000_000} MB; split it.")
        copy.write(block)
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            raise _not_utf8(copy, size - len(error.object) + error.start) from None
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _not_utf8(copy, size - len(error.object) + error.start) from None


def _not_utf8(copy: IO[bytes], offset: int) -> CourantError:
    copy.seek(0)
    before = copy.read(offset)
    line = 1 + before.count(b"\n") + before.count(b"\r") - before.count(b"\r\n")
    return broken("not_utf8", "The file is not UTF-8 text; save it again with that encoding.", line)


def _cut(copy: IO[bytes]) -> tuple[bytes, list[_Cut], int]:
    """Read the whole file; return its header with an end of line, where to cut, and how many rows there are."""
    bom = copy.read(len(codecs.BOM_UTF8))
    start = len(bom) if bom == codecs.BOM_UTF8 else 0
    copy.seek(start)
    # The wrapper asks for less than a whole file object; typeshed's protocol for that is private.
    buffer: Any = copy
    text = io.TextIOWrapper(buffer, encoding="utf-8", errors="strict", newline="")
    table = Table(text)
    header = table.take_text().encode()
    start += len(header)
    cuts: list[_Cut] = []
    total = before = characters = 0
    begins_at = table.line
    for _, fields in table.rows():
        total += 1
        characters += len(fields) + sum(map(len, fields))
        if total > MAX_ROWS:
            raise TooLargeError("import_too_large", f"A file has at most {MAX_ROWS:,} rows; split it.")
        if total - before >= PART_ROWS or characters >= PART_CHARACTERS:
            cuts.append(_Cut(before, begins_at, start, len(table.take_text().encode())))
            start += cuts[-1].size
            before, begins_at, characters = total, table.line, 0
    if total > before:
        cuts.append(_Cut(before, begins_at, start, len(table.take_text().encode())))
    # Detached, so that the wrapper does not close the file it has read.
    text.detach()
    return header if header.endswith((b"\n", b"\r")) else header + b"\n", cuts, total
