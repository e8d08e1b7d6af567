"""`manage.py worker`: run Dramatiq's workers with the options that the settings ask for."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils.module_loading import autodiscover_modules
from dramatiq import cli

# How long actors are awaited: less than `EndInTime` allows for all.
SHUTDOWN_MILLISECONDS = 20_000


class Command(BaseCommand):
    """Is Dramatiq's master itself: its processes are forked with the code already loaded, and share that memory."""

    help = (
        "Run the workers: WORKER_PROCESSES processes of WORKER_THREADS threads each, which fan issues out, deliver "
        "them, import readers and send notices. SIGTERM ends them after the mails in hand. With the in-memory broker "
        "there is one process, since its queues cannot be shared."
    )
    # They load every page; the release runs them.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--processes", type=int, default=settings.WORKER_PROCESSES, help="default: %(default)s")
        parser.add_argument("--threads", type=int, default=settings.WORKER_THREADS, help="default: %(default)s")

    def handle(self, *_args: Any, **options: Any) -> None:
        in_memory = urlsplit(settings.BROKER_URL).scheme == "memory"
        autodiscover_modules(*settings.DRAMATIQ_AUTODISCOVER_MODULES)
        processes = 1 if in_memory else options["processes"]
        arguments = f"--processes {processes} --threads {options['threads']} --skip-logging"
        arguments += f" --worker-shutdown-timeout {SHUTDOWN_MILLISECONDS} django_dramatiq.setup"
        # At SIGHUP the master executes these anew; the name of a script alone could not be.
        sys.argv = [sys.executable, *sys.argv]
        parsed = cli.make_argument_parser().parse_args(arguments.split())  # type: ignore[no-untyped-call]  # upstream left it untyped
        sys.exit(cli.main(parsed))  # type: ignore[no-untyped-call]  # the same
