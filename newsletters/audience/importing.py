"""Many readers at once, from a CSV file: checked and stored by the web process, read by an actor.

An import only adds. It changes nothing about a reader who is known, brings back nobody who left and
touches no suppressed address.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import IO

import structlog
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from accounts.models import User
from core.errors import CourantError
from newsletters.audience.import_check import check
from newsletters.audience.import_part import PartTakenError, commit, find_part, seen_before
from newsletters.audience.import_upload import Upload, checked_upload
from newsletters.audience.subscribing import checked_source
from newsletters.models import Import, ImportPart, Newsletter
from newsletters.models.audience_import import ImportState

log = structlog.get_logger(__name__)

SLICE_SECONDS = 10
LEASE = timedelta(seconds=30)
# One import at a time in a process bounds its memory, and leaves its other threads to other work.
_one_at_a_time = threading.Lock()


def accept(newsletter: Newsletter, stream: IO[bytes], *, consent_source: str, created_by: User | None = None) -> Import:
    """Check the shape of a CSV file, store it and queue its import.

    The header names a column `email`, perhaps `name`; every other column becomes an attribute. Raises
    InvalidError with the line for a file that cannot be read to its end, TooLargeError
    `import_too_large` above 50 MB or 1,000,000 rows, UnsupportedMediaTypeError `import_not_csv` for
    archives, spreadsheets and images. Nothing is stored then. Bad rows are found later, by `run`.
    """
    checked_source(consent_source)
    with checked_upload(stream) as upload:
        return store(newsletter, upload, consent_source=consent_source, created_by=created_by)


@transaction.atomic
def store(newsletter: Newsletter, upload: Upload, *, consent_source: str, created_by: User | None = None) -> Import:
    """Store a file that has been checked and queue its import. Raises InvalidError `invalid_consent_source`."""
    accepted = Import.objects.create(
        newsletter=newsletter,
        consent_source=checked_source(consent_source),
        created_by=created_by,
        total=upload.total,
    )
    for part in upload.parts():
        ImportPart.objects.create(audience_import=accepted, position=part.position, line=part.line, data=part.data)
    log.info("import_accepted", audience_import=accepted.uid, rows=accepted.total)
    return accepted


def due_ids(limit: int = 20) -> list[int]:
    """Return imports that wait for a worker now, those with the fewest rows handled first.

    So a short file does not wait for the end of a long one.
    """
    return list(_due().order_by("cursor", "pk").values_list("pk", flat=True)[:limit])


def run(import_id: int) -> None:
    """Go on with an import for about 10 seconds, unless another worker, or another thread here, is at one.

    Each part of the file is one transaction that also moves the cursor and the counts, so a worker may be
    killed anywhere, and the next one goes on at the same row.
    """
    if not _one_at_a_time.acquire(blocking=False):
        # The clock rings again.
        return
    try:
        if _due().filter(pk=import_id).update(state=ImportState.RUNNING, lease_until=Now() + LEASE) == 1:
            _run(Import.objects.select_related("newsletter").get(pk=import_id))
    finally:
        _one_at_a_time.release()


def _run(running: Import) -> None:
    try:
        _read(running)
    except PartTakenError:
        # Our lease ran out and another worker went on from the same cursor.
        return
    except CourantError as error:
        _end(running, ImportState.FAILED, failure=error.detail[:300])
    # After any other error the lease stays, so that the next attempt waits for its end.
    Import.objects.filter(pk=running.pk, state=ImportState.RUNNING, cursor=running.cursor).update(lease_until=None)


def pull_back() -> None:
    """After the database's clock has leapt back, let no import wait longer than a lease lasts; it ends none."""
    within_reach = Now() + LEASE
    Import.objects.filter(state=ImportState.RUNNING, lease_until__gt=within_reach).update(lease_until=within_reach)


def _due() -> QuerySet[Import]:
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    return Import.objects.filter(free, state__in=[ImportState.QUEUED, ImportState.RUNNING])


def _read(running: Import) -> None:
    """Commit part after part; while the database works on one, a thread checks the next."""
    if running.newsletter.deleted_at is not None:
        _end(running, ImportState.FAILED, failure="The newsletter was deleted.")
        return
    until = time.monotonic() + SLICE_SECONDS
    seen = seen_before(running)
    part = find_part(running, running.cursor)
    with ThreadPoolExecutor(1, thread_name_prefix="import") as checker:
        ahead = checker.submit(check, part, seen) if part else None
        while ahead is not None:
            checked = ahead.result()
            part = find_part(running, checked.position + checked.rows)
            ahead = checker.submit(check, part, seen) if part and time.monotonic() < until else None
            commit(running, checked, lease=LEASE)
    if running.cursor >= running.total:
        _end(running, ImportState.DONE)
    elif part is None:
        _end(running, ImportState.FAILED, failure="A part of the stored file is missing.")


def _end(running: Import, state: ImportState, *, failure: str = "") -> None:
    with transaction.atomic():
        ended = Import.objects.filter(pk=running.pk, state=ImportState.RUNNING, cursor=running.cursor).update(
            state=state, failure=failure, finished_at=Now(), lease_until=None
        )
        if ended == 1:
            ImportPart.objects.filter(audience_import=running).delete()
            log.info("import_ended", audience_import=running.uid, state=str(state))
