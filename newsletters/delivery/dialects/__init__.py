"""The ledger's raw SQL in two dialects with one meaning; one test suite runs over both."""

from __future__ import annotations

from django.db import connection

from newsletters.delivery.dialects.postgresql import PostgreSQL
from newsletters.delivery.dialects.sqlite import SQLite
from newsletters.delivery.dialects.words import Claimed, Dialect, Gate, Refused, Settlement

__all__ = ["Claimed", "Dialect", "Gate", "PostgreSQL", "Refused", "SQLite", "Settlement", "dialect"]

_DIALECTS: dict[str, Dialect] = {"postgresql": PostgreSQL(), "sqlite": SQLite()}


def dialect() -> Dialect:
    """Return the statements for the configured database."""
    return _DIALECTS[connection.vendor]
