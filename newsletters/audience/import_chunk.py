"""The rows of an import that are committed together, with bulk statements."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from core.errors import InvalidError, invalid_field
from newsletters.audience.addresses import canonical_reader
from newsletters.audience.csv_file import Columns
from newsletters.audience.import_sql import NewReader, add_readers, suppressed_among
from newsletters.audience.profile import checked_attributes, checked_name
from newsletters.models import Import, ImportRowError
from newsletters.models.audience_import import ImportState


class ChunkTakenError(Exception):
    """Another worker has committed these rows."""


class Chunk:
    """Gathers rows and commits them; rows before the import's cursor are only remembered.

    Remembers 16 bytes of a hash for each address of the file: about 100 MB for a million of them.
    """

    def __init__(self, running: Import, columns: Columns) -> None:
        self._import = running
        self._newsletter = running.newsletter
        self._columns = columns
        self._seen: set[int] = set()
        self._position = 0
        self._clear()

    def __len__(self) -> int:
        return self._position - self._import.cursor if self._position > self._import.cursor else 0

    def add(self, line: int, fields: list[str]) -> None:
        """Take one row; `line` is where it begins."""
        self._position += 1
        fresh = self._position > self._import.cursor
        try:
            reader = _parse(fields, self._columns)
        except InvalidError as error:
            if fresh:
                self._errors.append(
                    ImportRowError(audience_import=self._import, line=line, code=error.code, detail=error.detail[:300])
                )
            return
        mark = int.from_bytes(hashlib.blake2b(reader.key.encode(), digest_size=16).digest(), "big")
        if mark in self._seen:
            self._duplicates += fresh
            return
        self._seen.add(mark)
        if fresh:
            self._readers[reader.key] = reader

    def commit(self, lease: timedelta) -> None:
        """Write the gathered rows, their outcome and the new cursor in one transaction.

        Raises ChunkTakenError when another worker has moved the cursor.
        """
        before = self._import.cursor
        with transaction.atomic():
            # The row's lock makes a worker that lost its lease wait here, and then find the cursor moved.
            own = Import.objects.filter(pk=self._import.pk, state=ImportState.RUNNING, cursor=before)
            if not own.select_for_update().exists():
                raise ChunkTakenError
            counts = self._store()
            ImportRowError.objects.bulk_create(self._errors)
            own.update(
                cursor=max(before, self._position),
                lease_until=Now() + lease,
                added=F("added") + counts["added"],
                already_present=F("already_present") + counts["already_present"],
                refused=F("refused") + counts["refused"],
                duplicates=F("duplicates") + self._duplicates,
                invalid=F("invalid") + len(self._errors),
            )
        self._import.cursor = max(before, self._position)
        self._clear()

    def _clear(self) -> None:
        self._readers: dict[str, NewReader] = {}
        self._errors: list[ImportRowError] = []
        self._duplicates = 0

    def _store(self) -> Counter[str]:
        readers = list(self._readers.values())
        publisher_id = self._newsletter.publisher_id
        suppressed = suppressed_among(publisher_id, [reader.digest for reader in readers]) if readers else set()
        wanted = [reader for reader in readers if reader.digest not in suppressed]
        detail = f"{self._import.uid}: {self._import.consent_source}"
        added, left = add_readers(publisher_id, self._newsletter.pk, wanted, detail=detail)
        return Counter(
            added=added,
            refused=len(readers) - len(wanted) + left,
            already_present=len(wanted) - added - left,
        )


def _parse(fields: list[str], columns: Columns) -> NewReader:
    """Return what a row says; raises InvalidError."""
    if len(fields) != columns.count:
        raise invalid_field("", "wrong_field_count", f"The row has {len(fields)} fields, the header {columns.count}.")
    attributes = {name: value for place, name in columns.attributes if (value := fields[place].strip())}
    who = canonical_reader(fields[columns.email].strip())
    return NewReader(
        address=who.address,
        key=who.key,
        digest=who.digest,
        name=checked_name(fields[columns.name]) if columns.name is not None else "",
        attributes=checked_attributes(attributes) if attributes else attributes,
    )
