"""`manage.py catcher`: the mail server that keeps everything and delivers nothing."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from newsletters.demo import maildir


class Command(BaseCommand):
    help = "Catch all mail of this machine's workers on loopback and show it at /mail/ (DEBUG only)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=settings.EMAIL_PORT, help="default: the port of EMAIL_URL")

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The catcher runs only with DEBUG=1.")
        try:
            # aiosmtpd belongs to requirements/demo.txt, so production must never need it.
            catcher = importlib.import_module("newsletters.demo.catcher")
        except ModuleNotFoundError as error:
            raise CommandError(f"{error}: install requirements/demo.txt.") from error
        try:
            asyncio.run(catcher.catch(maildir.folder(), options["port"]))
        except OSError as error:
            raise CommandError(f"Port {options['port']} cannot be used: {error.strerror or error}.") from error
