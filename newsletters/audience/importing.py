"""Many readers at once, from a CSV file: checked and stored by the web process, read by an actor.

An import only adds. It changes nothing about a reader who is known, brings back nobody who left and
touches no suppressed address.
"""

from __future__ import annotations

import codecs
import io
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import IO, Any

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts.models import User
from core.errors import CourantError, TooLargeError, UnsupportedMediaTypeError
from newsletters.audience.csv_file import Table, broken
from newsletters.audience.import_chunk import Chunk, ChunkTakenError
from newsletters.audience.subscribing import checked_source
from newsletters.models import Import, ImportPart, Newsletter
from newsletters.models.audience_import import ImportState

log = structlog.get_logger(__name__)

MAX_BYTES = 50_000_000
MAX_ROWS = 1_000_000
PART_BYTES = 1_000_000
CHUNK_ROWS = 4_000
SLICE_SECONDS = 45
LEASE = timedelta(seconds=30)
RENEW_ROWS = 50_000
# The first bytes of zip (and .xlsx), gzip, PNG, PDF, old Excel, bzip2, xz and 7z files.
_NOT_TEXT = tuple(
    map(
        bytes.fromhex,
        ["504b0304", "504b0506", "1f8b", "89504e47", "25504446", "d0cf11e0", "425a68", "fd377a585a", "377abcaf"],
    )
)


def accept(newsletter: Newsletter, stream: IO[bytes], *, consent_source: str, created_by: User | None = None) -> Import:
    """Check the shape of a CSV file, store it and queue its import.

    The header names a column `email`, perhaps `name`; every other column becomes an attribute. Raises
    InvalidError with the line for a file that cannot be read to its end, TooLargeError
    `import_too_large` above 50 MB or 1,000,000 rows, UnsupportedMediaTypeError `import_not_csv` for
    archives, spreadsheets and images. Nothing is stored then. Bad rows are found later, by `run`.
    """
    source = checked_source(consent_source)
    with tempfile.SpooledTemporaryFile(max_size=2 * PART_BYTES) as copy:
        _copy_text(stream, copy)
        copy.seek(0)
        total = _count_rows(copy)
        with transaction.atomic():
            accepted = Import.objects.create(
                newsletter=newsletter, consent_source=source, created_by=created_by, total=total
            )
            copy.seek(0)
            for position, data in enumerate(_blocks(copy)):
                ImportPart.objects.create(audience_import=accepted, position=position, data=data)
    log.info("import_accepted", audience_import=accepted.uid, rows=total)
    return accepted


def due_ids(limit: int = 20) -> list[int]:
    """Return imports that wait for a worker now, oldest first."""
    return list(_due().order_by("pk").values_list("pk", flat=True)[:limit])


def run(import_id: int) -> None:
    """Go on with an import for at most 45 seconds, unless another worker is at it.

    Each chunk of rows is one transaction that also moves the cursor and the counts, so a worker may be
    killed anywhere. Addresses of earlier rows are read again after a restart, since only the file can
    say which addresses it repeats.
    """
    if _due().filter(pk=import_id).update(state=ImportState.RUNNING, lease_until=Now() + LEASE) != 1:
        return
    running = Import.objects.select_related("newsletter").get(pk=import_id)
    try:
        _read(running)
    except ChunkTakenError:
        # Our lease ran out and another worker went on from the same cursor.
        return
    except CourantError as error:
        _end(running, ImportState.FAILED, failure=error.detail[:300])
    # After any other error the lease stays, so that the next attempt waits for its end.
    Import.objects.filter(pk=import_id, state=ImportState.RUNNING, cursor=running.cursor).update(lease_until=None)


def _due() -> QuerySet[Import]:
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    return Import.objects.filter(free, state__in=[ImportState.QUEUED, ImportState.RUNNING])


def _read(running: Import) -> None:
    if running.newsletter.deleted_at is not None:
        _end(running, ImportState.FAILED, failure="The newsletter was deleted.")
        return
    ends_at: float | None = None
    table = Table(_text(_Parts(running.pk)))
    chunk = Chunk(running, table.columns)
    for number, (line, fields) in enumerate(table.rows(), start=1):
        chunk.add(line, fields)
        if number <= running.cursor and number % RENEW_ROWS == 0:
            Import.objects.filter(pk=running.pk, cursor=running.cursor).update(lease_until=Now() + LEASE)
        elif len(chunk) >= CHUNK_ROWS:
            chunk.commit(LEASE)
            # Counted from the first new rows, so that each slice gets on however far it has to read.
            ends_at = ends_at or time.monotonic() + SLICE_SECONDS
            if time.monotonic() > ends_at:
                return
    chunk.commit(LEASE)
    _end(running, ImportState.DONE)


def _end(running: Import, state: ImportState, *, failure: str = "") -> None:
    with transaction.atomic():
        ended = Import.objects.filter(pk=running.pk, state=ImportState.RUNNING, cursor=running.cursor).update(
            state=state, failure=failure, finished_at=Now(), lease_until=None
        )
        if ended == 1:
            ImportPart.objects.filter(audience_import=running).delete()
            log.info("import_ended", audience_import=running.uid, state=str(state))


def _copy_text(stream: IO[bytes], copy: IO[bytes]) -> None:
    """Copy the upload, refusing what is too big or no UTF-8 text as soon as that shows."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    size = 0
    for block in _blocks(stream):
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


def _count_rows(copy: IO[bytes]) -> int:
    text = _text(copy)
    total = 0
    for _ in Table(text).rows():
        total += 1
        if total > MAX_ROWS:
            raise TooLargeError("import_too_large", f"A file has at most {MAX_ROWS:,} rows; split it.")
    # Detached, so that the wrapper does not close the file it has read.
    text.detach()
    return total


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(PART_BYTES):
        yield block


def _text(raw: IO[bytes] | io.BufferedIOBase) -> io.TextIOWrapper:
    # The wrapper asks for less than a whole file object; typeshed's protocol for that is private.
    buffer: Any = raw
    return io.TextIOWrapper(buffer, encoding="utf-8-sig", errors="strict", newline="")


class _Parts(io.BufferedIOBase):
    """The stored file as a stream that holds one part at a time."""

    def __init__(self, import_id: int) -> None:
        self._import_id = import_id
        self._position = 0
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        return b"".join(iter(self.read1, b"")) if size is None or size < 0 else self.read1(size)

    def read1(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at the end."""
        if not self._rest:
            part = ImportPart.objects.filter(audience_import=self._import_id, position=self._position)
            self._rest = bytes(part.values_list("data", flat=True).first() or b"")
            self._position += 1
        size = len(self._rest) if size < 0 else size
        given, self._rest = self._rest[:size], self._rest[size:]
        return given
