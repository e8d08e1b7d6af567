"""What the rows of a part say: readers, errors and repetitions. No database, so a thread of its own can do it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from core.addresses import canonical_reader
from core.errors import InvalidError, invalid_field
from newsletters.audience.csv_file import Columns, Table
from newsletters.audience.import_marks import BYTES, Marks
from newsletters.audience.import_sql import NewReader
from newsletters.audience.import_upload import Part
from newsletters.audience.profile import checked_attributes, checked_name

_quoted = json.JSONEncoder().encode


@dataclass
class CheckedPart:
    """A part's outcome: its readers ordered by key, each address once in the whole file.

    `errors` are (line, code, detail); `marks` tells later parts which addresses this one had.
    """

    position: int
    rows: int = 0
    duplicates: int = 0
    errors: list[tuple[int, str, str]] = field(default_factory=list)
    readers: list[NewReader] = field(default_factory=list)
    marks: bytes = b""


def check(part: Part, seen: Marks) -> CheckedPart:
    """Read a part's rows; `seen` has the addresses of all parts before it, and has this part's afterwards.

    Raises InvalidError when the part cannot be read to its end.
    """
    table = Table(io.StringIO(part.data.decode(), newline=""), rows_begin_at=part.line)
    checked = CheckedPart(part.position)
    readers = checked.readers
    for line, fields in table.rows():
        checked.rows += 1
        try:
            reader = _parse(fields, table.columns)
        except InvalidError as error:
            checked.errors.append((line, error.code, error.detail[:300]))
            continue
        if seen.add(reader.digest):
            readers.append(reader)
        else:
            checked.duplicates += 1
    checked.marks = b"".join([reader.digest[:BYTES] for reader in readers])
    # Ordered by address everywhere, so that two imports with the same readers cannot block each other.
    readers.sort(key=attrgetter("key"))
    return checked


def _parse(fields: list[str], columns: Columns) -> NewReader:
    """Return what a row says; raises InvalidError."""
    if len(fields) != columns.count:
        raise invalid_field("", "wrong_field_count", f"The row has {len(fields)} fields, the header {columns.count}.")
    attributes = {name: value for place, name in columns.attributes if (value := fields[place].strip())}
    who = canonical_reader(fields[columns.email].strip())
    name = checked_name(fields[columns.name]) if columns.name is not None else ""
    return NewReader(
        address=who.address,
        key=who.key,
        digest=who.digest,
        name=name,
        attributes=_object(checked_attributes(attributes)) if attributes else "{}",
    )


def _object(texts: Mapping[str, str]) -> str:
    """Return the JSON that `json.dumps` makes, which takes three times as long for an object as for its texts."""
    return "{" + ", ".join([f"{_quoted(name)}: {_quoted(text)}" for name, text in texts.items()]) + "}"
