"""Whether sending waits for `accept-restore`, and whether a restored database would be noticed at all."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from core.models import RestoreGuard
from core.restore_guard import mismatch, seen
from core.restore_store import UnreachableError, UnreadableError, open_store
from newsletters.doctor.findings import Finding, Terms, error, note, ok, quote, warning

_ACCEPT = "When this database is the one to work with: python manage.py accept-restore"


def restore(_terms: Terms) -> Iterator[Finding]:
    """Look at the guard's row, and compare it with what this machine remembers."""
    store = open_store(settings.RESTORE_GUARD_STORE)
    try:
        # Before the row: what the database says afterwards can only be more.
        remembered = store.read()
    except (UnreachableError, UnreadableError) as failure:
        yield warning(
            "work.guard_store_unusable",
            f"The restore guard cannot read what it remembers: {quote(failure)}",
            "Let RESTORE_GUARD_STORE name a file that workers may write, or a Redis that answers. "
            "After a loss of its content: python manage.py accept-restore",
        )
        remembered = None
    row = RestoreGuard.objects.filter(pk=1).first()
    if row is not None and row.blocked_at is not None:
        yield error("work.restore_blocked", f"Sending is blocked: {quote(row.blocked_why)}", _ACCEPT)
        return
    why = mismatch(remembered, seen(row)) if row is not None and remembered is not None else None
    if why:
        yield error("work.restore_seen", f"{why} Workers that remember the same will send nothing.", _ACCEPT)
    elif store.name == "off":
        yield warning(
            "work.guard_off",
            "The restore guard is off: a database restored from a backup would send its mails again.",
            "Set RESTORE_GUARD_STORE to a file that stays (a volume), or to a Redis that keeps its data.",
        )
    elif remembered is None:
        yield note("work.guard_empty", f"Nothing is remembered of the database at {quote(store.name)} on this machine.")
    else:
        yield ok("work.guard", "This is the database that was worked on last.")
