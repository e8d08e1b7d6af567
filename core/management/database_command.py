"""Commands that cannot do without the database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError


class DatabaseCommand(BaseCommand):
    """Ends with one line and exit code 1 where the database cannot be reached or has no tables yet."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except (DatabaseError, InterfaceError) as error:
            sentence = str(error).partition("\n")[0]
            raise CommandError(f"The database cannot be used; was `manage.py migrate` run? {sentence}") from error
