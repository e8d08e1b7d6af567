"""The shape of an uploaded CSV file: what is a row, on which line it begins, and what breaks the file.

Text is UTF-8, separated by commas, semicolons or tabs, quoted as in RFC 4180 and strictly so: a lenient
reader would swallow the rest of the file behind one stray quotation mark.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from core.errors import FieldError, InvalidError, TooLargeError
from newsletters.audience.profile import ATTRIBUTE_NAME

DELIMITERS = ",;\t"
MAX_COLUMNS = 64
MAX_FIELD_LENGTH = 1024
# A row of the greatest permitted size, had each character to be quoted.
MAX_LINE_LENGTH = MAX_COLUMNS * (2 * MAX_FIELD_LENGTH + 3)
# Four for each row that a file may have; without rows, 50 MB of line ends would be read for a minute.
MAX_LINES = 4_000_000
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Columns:
    """Which column is what: the address, the name (if any) and attributes by their column's number."""

    count: int
    email: int
    name: int | None
    attributes: tuple[tuple[int, str], ...]


class Table:
    """A CSV file being read: its columns, then its rows as (line on which the row begins, fields).

    Blank lines are no rows. Reading raises InvalidError, with the line, for whatever makes the rest of
    the file unreadable, and TooLargeError beyond 4,000,000 lines; a row with too few or too many fields does
    not. `rows_begin_at` is the line at which the rows stood in the file that this one was cut from.
    """

    def __init__(self, text: TextIO, *, rows_begin_at: int | None = None) -> None:
        self._lines = _Lines(text)
        first = self._lines.first()
        delimiter = max(DELIMITERS, key=first.count)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        line, header = next(self.rows(), (1, []))
        self.columns = _columns(header, line)
        if rows_begin_at is not None:
            self._lines.number = rows_begin_at - 1

    @property
    def line(self) -> int:
        """The line that is read next."""
        return self._lines.number + 1

    def take_text(self) -> str:
        """Return the text that was read since the last call: it ends between two rows."""
        text = "".join(self._lines.read)
        self._lines.read.clear()
        return text

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows that have not been read yet."""
        while True:
            line = self._lines.number + 1
            try:
                fields = next(self._reader, None)
            except csv.Error as error:
                raise self._unreadable(line, str(error)) from None
            if fields is None:
                return
            if not fields:
                continue
            if len(fields) > MAX_COLUMNS:
                raise broken("too_many_columns", f"A row has at most {MAX_COLUMNS} fields.", line)
            if max(map(len, fields)) > MAX_FIELD_LENGTH:
                raise self._unreadable(line, "field larger than the limit")
            yield line, fields

    def _unreadable(self, line: int, problem: str) -> InvalidError:
        # An unclosed quotation mark swallows lines until something else goes wrong.
        if "unexpected end" in problem or self._lines.number > line:
            return broken("unclosed_quote", "A quotation mark in this row is not closed.", line)
        if "larger" in problem:
            return broken("field_too_long", f"A field has at most {MAX_FIELD_LENGTH} characters.", line)
        return broken("stray_quote", "A quotation mark inside a quoted field is not doubled.", line)


class _Lines:
    """The lines of the text with their ends; `number` is the one given out last, counted from 1."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._kept: str | None = None
        self.number = 0
        self.read: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._kept is not None:
            line, self._kept = self._kept, None
        else:
            line = self._text.readline(MAX_LINE_LENGTH + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if self.number > MAX_LINES:
            raise TooLargeError("import_too_large", f"A file has at most {MAX_LINES:,} lines; split it.")
        self.read.append(line)
        if len(line) > MAX_LINE_LENGTH:
            raise broken("line_too_long", f"A line has at most {MAX_LINE_LENGTH} characters.", self.number)
        if "\0" in line:
            raise broken("nul_character", "The file contains a NUL character; it may not be a text file.", self.number)
        return line

    def first(self) -> str:
        """Return the first line that is not blank, which is also given out again."""
        for line in self:
            if line.strip():
                self._kept = line
                self.number -= 1
                self.read.pop()
                return line
        raise broken("empty_file", "The file is empty; its first line must name the columns.", 1)


def broken(code: str, detail: str, line: int) -> InvalidError:
    """Return the error for a file that cannot be read beyond a line."""
    return InvalidError(code, f"Line {line}: {detail}", errors=[FieldError(code=code, detail=detail, line=line)])


def _columns(header: list[str], line: int) -> Columns:
    names = [_NOT_IN_NAMES.sub("_", name.strip().lower()).strip("_") for name in header]
    if "email" not in names:
        raise broken("missing_email_column", 'The first line must name the columns, one of them "email".', line)
    for shown, name in zip(header, names, strict=True):
        if not ATTRIBUTE_NAME.match(name):
            raise broken(
                "invalid_column_name",
                f"The column name {shown[:40]!r} cannot be used: it needs Latin letters or digits, a letter first.",
                line,
            )
        if names.count(name) > 1:
            raise broken("duplicate_column", f"Two columns are named {name!r}.", line)
    return Columns(
        count=len(names),
        email=names.index("email"),
        name=names.index("name") if "name" in names else None,
        attributes=tuple((place, name) for place, name in enumerate(names) if name not in ("email", "name")),
    )
