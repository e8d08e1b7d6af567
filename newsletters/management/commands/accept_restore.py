"""`manage.py accept-restore`: go on with a restored database."""

from __future__ import annotations

import json
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.audit import Actor
from accounts.models import ActorKind
from core.management.database_command import DatabaseCommand
from core.restore_store import UnreachableError, open_store
from newsletters.publishing.accepting import accept_restore, find_block, issues_under_way


class Command(DatabaseCommand):
    """Shows what did not match, asks, and adopts the present database."""

    help = (
        "Accept the present database after the restore guard has blocked sending. Readers who got their mail after "
        "the backup was made are open in it again: look at the issues before you resume them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument("--resume", action="store_true", help="resume the issues that the guard has blocked")

    def handle(self, *_args: Any, **options: Any) -> None:
        store = open_store(settings.RESTORE_GUARD_STORE)
        try:
            row = find_block(store)
            if row is None:
                self.stdout.write("Sending is not blocked: there is nothing to accept.")
                return
            self.stdout.write(f"Blocked since {row.blocked_at}: {row.blocked_why}")
            self.stdout.write(f"Remembered: {json.dumps(row.remembered)}")
            self.stdout.write(f"Found:      {json.dumps(row.found)}")
            for issue in issues_under_way():
                self.stdout.write(f"{issue.uid} {issue.state}, {issue.open_readers} readers open: {issue.subject}")
            if not options["yes"] and input("Work with this database from now on? [y/N] ").lower() not in ("y", "yes"):
                raise CommandError("Nothing was changed; sending stays blocked.")
            actor = Actor(ActorKind.COMMAND, f"accept-restore on {socket.gethostname()}")
            resumed = accept_restore(store, actor=actor, resume=options["resume"])
        except UnreachableError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Accepted. {resumed} issue(s) go on.")
