"""The rows of a part are committed together, with their outcome and the import's new cursor."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from newsletters.audience.import_check import CheckedPart
from newsletters.audience.import_marks import Marks
from newsletters.audience.import_sql import add_readers
from newsletters.audience.import_upload import Part
from newsletters.models import Import, ImportPart, ImportRowError
from newsletters.models.audience_import import ImportState


class PartTakenError(Exception):
    """Another worker has committed these rows."""


def find_part(running: Import, position: int) -> Part | None:
    """Return the part whose rows come after the first `position` rows of the file."""
    part = ImportPart.objects.filter(audience_import=running, position=position).first()
    return None if part is None else Part(part.position, part.line, bytes(part.data))


def seen_before(running: Import) -> Marks:
    """Return the addresses of the parts before the import's cursor."""
    seen = Marks(running.total)
    handled = ImportPart.objects.filter(audience_import=running, position__lt=running.cursor)
    for marks in handled.order_by("position").values_list("marks", flat=True).iterator(chunk_size=10):
        seen.load(bytes(marks))
    return seen


def commit(running: Import, part: CheckedPart, *, lease: timedelta) -> None:
    """Write a part's readers, errors, counts and marks, and move the cursor behind it, in one transaction.

    Raises PartTakenError when another worker has moved the cursor.
    """
    newsletter = running.newsletter
    after = part.position + part.rows
    with transaction.atomic():
        # The row's lock makes a worker that lost its lease wait here, and then find the cursor moved.
        own = Import.objects.filter(pk=running.pk, state=ImportState.RUNNING, cursor=part.position)
        if not own.select_for_update().exists():
            raise PartTakenError
        outcome = add_readers(
            newsletter.publisher_id,
            newsletter.pk,
            part.readers,
            detail=f"{running.uid}: {running.consent_source}",
        )
        ImportRowError.objects.bulk_create(
            ImportRowError(audience_import=running, line=line, code=code, detail=detail)
            for line, code, detail in part.errors
        )
        ImportPart.objects.filter(audience_import=running, position=part.position).update(data=b"", marks=part.marks)
        own.update(
            cursor=after,
            lease_until=Now() + lease,
            added=F("added") + outcome.added,
            already_present=F("already_present") + len(part.readers) - outcome.added - outcome.refused,
            refused=F("refused") + outcome.refused,
            duplicates=F("duplicates") + part.duplicates,
            invalid=F("invalid") + len(part.errors),
        )
    running.cursor = after
