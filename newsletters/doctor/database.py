"""Whether the database answers, and whether its clock is this machine's."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, InterfaceError, NotSupportedError, connection

from core.database import database_now
from newsletters.doctor.findings import Finding, Terms, error, ok, quote, warning

MOST_SKEW_SECONDS = 10.0


def reach(_terms: Terms) -> Iterator[Finding]:
    """Connect; Django itself refuses a version that it is too new for."""
    where = place()
    if connection.vendor == "sqlite" and not Path(where).exists():
        # Connecting would make the file.
        yield error("database.unreachable", f"{where} does not exist.", "python manage.py migrate --noinput")
        return
    try:
        connection.ensure_connection()
    except NotSupportedError as failure:
        yield error("database.too_old", quote(failure), "Upgrade the server (pg_upgrade, or dump and restore).")
        return
    except (DatabaseError, InterfaceError) as failure:
        yield error(
            "database.unreachable",
            f"{where} cannot be reached: {quote(failure)}",
            "Start the server, or correct DATABASE_URL (host, port, name, role, password).",
        )
        return
    version = connection.get_database_version()
    shown = ".".join(str(number) for number in version)
    name = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    yield ok("database.reachable", f"{name} {shown}: {where} answers.")


def place() -> str:
    """Return where the database is, without the password."""
    facts = settings.DATABASES["default"]
    if connection.vendor == "sqlite":
        return str(facts["NAME"])
    host = facts.get("HOST") or "the local socket"
    return f"{facts['NAME']} at {host}:{facts.get('PORT') or 5432}"


def clock(_terms: Terms) -> Iterator[Finding]:
    """Compare the database's clock, the only one that decides, with this machine's."""
    before = datetime.datetime.now(datetime.UTC)
    theirs = database_now()
    after = datetime.datetime.now(datetime.UTC)
    ahead = (theirs - (before + (after - before) / 2)).total_seconds()
    if abs(ahead) > MOST_SKEW_SECONDS:
        yield warning(
            "database.clock_skew",
            f"The database's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's.",
            "Synchronise both with NTP; `timedatectl` shows whether a machine does.",
        )
    else:
        yield ok("database.clock", f"Its clock and this machine's differ by {abs(ahead):.1f} s.")
