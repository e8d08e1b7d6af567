"""Make an API key from the command line."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from accounts.audit import Actor
from accounts.models import ActorKind, Publisher, Scope
from accounts.publishers import find_publisher
from core.errors import CourantError, NotFoundError
from core.management.database_command import DatabaseCommand
from core.public_ids import decode
from newsletters.models import Newsletter
from newsletters.publishing.keys import create_key

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
  requests:read        read the log of API requests
  audit:read           read the audit log

`all` is every scope, `read` the first of newsletters, subscribers and issues.

Examples:
  python manage.py create_api_key --publisher "Daily Planet" --name "Website form" \\
      --scopes newsletters:read,subscribers:write
  python manage.py create_api_key --publisher pub_01k… --name Laptop --scopes all --expires-days 30
  python manage.py create_api_key --publisher "Daily Planet" --name Statistics --scopes read --newsletters weekly

The key is printed once, alone on the standard output. It cannot be shown again.
"""


class Command(DatabaseCommand):
    help = "Create an API key for a publisher and print it once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EXAMPLES
        parser.add_argument("--publisher", required=True, help="the publisher's name or public id (pub_…)")
        parser.add_argument("--name", required=True, help="what the key is for, at most 100 characters")
        parser.add_argument("--scopes", required=True, help="scopes separated by commas, or `all`, or `read`")
        parser.add_argument(
            "--newsletters",
            default="",
            help="slugs or ids (nl_…) of those it is for, separated by commas; all by default",
        )
        parser.add_argument("--expires-days", type=int, help="days until the key expires; never by default")

    def handle(self, *_args: Any, **options: Any) -> None:
        words = _words(options["scopes"])
        scopes = {"all": Scope.values, "read": Scope.reading()}.get(" ".join(words), words)
        names = _words(options["newsletters"])
        days = options["expires_days"]
        if days is not None and not 1 <= days <= 3650:  # noqa: PLR2004  # ten years
            raise CommandError("--expires-days must be from 1 to 3650.")
        try:
            publisher = find_publisher(options["publisher"])
            key, text = create_key(
                publisher,
                name=options["name"],
                scopes=scopes,
                expires_in=None if days is None else timedelta(days=days),
                newsletters=[_find_newsletter(publisher, name) for name in names] if names else None,
                actor=Actor(ActorKind.COMMAND, "create_api_key"),
            )
        except CourantError as error:
            raise CommandError(error.detail) from error
        limit = f", only {', '.join(names)}" if names else ""
        self.stderr.write(f"{key.uid} for {key.publisher.name}: {', '.join(key.scopes)}{limit}")
        self.stdout.write(text)


def _words(given: str) -> list[str]:
    return [word.strip() for word in given.split(",") if word.strip()]


def _find_newsletter(publisher: Publisher, slug_or_id: str) -> Newsletter:
    """Return the publisher's newsletter with this slug or public id. Raises NotFoundError."""
    here = Newsletter.objects.alive().filter(publisher=publisher)
    rows = (
        here.filter(public_id=decode("nl", slug_or_id))
        if slug_or_id.startswith("nl_")
        else here.filter(slug=slug_or_id)
    )
    found = rows.first()
    if found is None:
        raise NotFoundError("newsletter_not_found", f"{publisher.name} has no newsletter “{slug_or_id}”.")
    return found
