"""`manage.py worker`: run Dramatiq's workers with the options that the settings ask for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

# How long actors are awaited: less than `EndInTime` allows for all.
SHUTDOWN_MILLISECONDS = 20_000


class Command(BaseCommand):
    """Starts `dramatiq` in place of this process."""

    help = (
        "Run the workers: WORKER_PROCESSES processes of WORKER_THREADS threads each, which fan issues out, deliver "
        "them, import readers and send notices. SIGTERM ends them after the mails in hand. With the in-memory broker "
        "there is one process, since its queues cannot be shared."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--processes", type=int, default=settings.WORKER_PROCESSES, help="default: %(default)s")
        parser.add_argument("--threads", type=int, default=settings.WORKER_THREADS, help="default: %(default)s")

    def handle(self, *_args: Any, **options: Any) -> None:
        in_memory = urlsplit(settings.BROKER_URL).scheme == "memory"
        call_command(
            "rundramatiq",
            processes=1 if in_memory else options["processes"],
            threads=options["threads"],
            worker_shutdown_timeout=SHUTDOWN_MILLISECONDS,
            skip_logging=True,
        )
