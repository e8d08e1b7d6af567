"""`manage.py demo`: the whole service on one machine, with 1,000 made-up readers."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import CourantError
from newsletters.demo.children import ChildEndedError, Children
from newsletters.demo.environment import MAIL_PORT, WEB_PORT, PortTakenError, Surroundings, choose_port
from newsletters.demo.run import DemoFailedError, run
from newsletters.demo.terminal import Screen


class Command(BaseCommand):
    help = "Send a sample issue to 1,000 sample readers and serve the site (DEBUG only)."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop after the summary")
        parser.add_argument(
            "--folder",
            type=Path,
            default=Path(settings.BASE_DIR) / "var" / "demo",
            help="of the database, the caught mails and the logs; var/demo by default",
        )
        parser.add_argument(
            "--port", type=int, help="of the site; PORT in the environment, or the first free from 8000"
        )
        parser.add_argument("--mail-port", type=int, help="of the mail catcher; the first free from 2525")
        parser.add_argument("--prepared", action="store_true", help=argparse.SUPPRESS)

    def handle(self, *_args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("The demonstration runs only with DEBUG=1.")
        if not options["prepared"]:
            self._begin_again(options)
        surroundings = Surroundings(options["folder"], options["port"], options["mail_port"])
        # A shell that starts us in the background has SIGINT ignored, which Python would keep.
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, _interrupt)
        try:
            with Children(surroundings.folder, os.environ) as children:
                run(surroundings, children, Screen(sys.stdout), once=options["once"])
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")
        except (DemoFailedError, ChildEndedError) as error:
            raise CommandError(str(error)) from error
        except CourantError as error:
            raise CommandError(" ".join([error.detail, *(part.detail for part in error.errors)])) from error

    def _begin_again(self, options: dict[str, Any]) -> None:
        """Replace this process by one whose settings are the demonstration's own, under the same number."""
        folder = options["folder"].resolve()
        folder.mkdir(parents=True, exist_ok=True)
        variable = os.environ.get("PORT", "")
        asked = options["port"] or (int(variable) if variable.isdigit() else None)
        try:
            web_port = choose_port(WEB_PORT, asked=asked, purpose="the site (PORT)")
            mail_port = choose_port(MAIL_PORT, asked=options["mail_port"], purpose="the mail catcher (--mail-port)")
        except PortTakenError as error:
            raise CommandError(str(error)) from error
        if asked is None and web_port != WEB_PORT:
            self.stdout.write(f"Port {WEB_PORT} is in use, so the site will be on {web_port}.")
        self.stdout.flush()
        arguments = ["--prepared", "--folder", str(folder), "--port", str(web_port), "--mail-port", str(mail_port)]
        arguments += ["--once"] if options["once"] else []
        variables = Surroundings(folder, web_port, mail_port).variables(os.environ)
        manage = str(Path(settings.BASE_DIR) / "manage.py")
        os.execve(sys.executable, [sys.executable, manage, "demo", *arguments], variables)  # noqa: S606  # ourselves


def _interrupt(_signum: int, _frame: Any) -> None:
    raise KeyboardInterrupt
