"""Make an API key from the command line."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.audit import Actor
from accounts.keys import create_key
from accounts.models import ActorKind, Scope
from accounts.publishers import find_publisher
from core.errors import CourantError

EXAMPLES = """\
Scopes:
  newsletters:read     list and read newsletters and sender identities
  newsletters:write    create, change and delete newsletters
  subscribers:read     list and read subscribers, subscriptions and imports
  subscribers:write    add (awaiting confirmation), change, unsubscribe and erase readers
  subscribers:consent  add and import readers as active, stating where their consent was given
  issues:read          list and read issues, progress and deliveries
  issues:write         write, change and delete drafts, send proofs
  issues:send          send, schedule, pause, resume and cancel

Examples:
  python manage.py create_api_key --publisher "Daily Planet" --name "Website form" \\
      --scopes newsletters:read,subscribers:write
  python manage.py create_api_key --publisher pub_01k… --name Laptop --scopes all --expires-days 30

The key is printed once, alone on the standard output. It cannot be shown again.
"""


class Command(BaseCommand):
    help = "Create an API key for a publisher and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EXAMPLES
        parser.add_argument("--publisher", required=True, help="the publisher's name or public id (pub_…)")
        parser.add_argument("--name", required=True, help="what the key is for, at most 100 characters")
        parser.add_argument("--scopes", required=True, help="scopes separated by commas, or `all`")
        parser.add_argument("--expires-days", type=int, help="days until the key expires; never by default")

    def handle(self, *_args: Any, **options: Any) -> None:
        words = [word.strip() for word in options["scopes"].split(",") if word.strip()]
        days = options["expires_days"]
        if days is not None and not 1 <= days <= 3650:  # noqa: PLR2004  # ten years
            raise CommandError("--expires-days must be from 1 to 3650.")
        try:
            key, text = create_key(
                find_publisher(options["publisher"]),
                name=options["name"],
                scopes=Scope.values if words == ["all"] else words,
                expires_in=None if days is None else timedelta(days=days),
                actor=Actor(ActorKind.COMMAND, "create_api_key"),
            )
        except CourantError as error:
            raise CommandError(error.detail) from error
        self.stderr.write(f"{key.uid} for {key.publisher.name}: {', '.join(key.scopes)}")
        self.stdout.write(text)
