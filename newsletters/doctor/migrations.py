"""Whether the tables are those that this release expects."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.db import connection
from django.db.migrations.exceptions import InconsistentMigrationHistory
from django.db.migrations.loader import MigrationLoader

from core.health import pending_migrations
from newsletters.doctor.findings import Finding, Terms, error, ok, quote

SHOWN = 5


def state(_terms: Terms) -> Iterator[Finding]:
    """Look for migrations not applied or out of order, and for applied ones that this release does not know."""
    loader = MigrationLoader(connection)
    try:
        # A gap in the middle, which `migrate` refuses to fill: the remedy is another.
        loader.check_consistent_history(connection)
    except InconsistentMigrationHistory as failure:
        yield error(
            "migrations.inconsistent",
            quote(failure),
            "Restore a backup; or when you know that its changes are there: python manage.py migrate --fake APP NAME",
        )
        return
    unknown = _unknown(loader)
    if unknown:
        yield error(
            "migrations.unknown",
            f"The database is newer than this release: {_few(unknown)} is applied and unknown here.",
            "Deploy the release that has it.",
        )
    pending = pending_migrations()
    if pending:
        yield error(
            "migrations.pending",
            f"{len(pending)} migration(s) are not applied: {_few(pending)}.",
            "python manage.py migrate --noinput",
        )
    elif not unknown:
        yield ok("migrations.applied", "Every migration is applied.")


def _unknown(loader: MigrationLoader) -> list[str]:
    installed = {config.label for config in apps.get_app_configs()}
    return sorted(
        f"{label}.{name}"
        for label, name in loader.applied_migrations
        if label in installed and (label, name) not in loader.disk_migrations
    )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
