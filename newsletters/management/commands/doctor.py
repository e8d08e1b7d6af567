"""`manage.py doctor`: is everything in order, and what to do when it is not."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand
from email_validator import EmailNotValidError, validate_email

from newsletters.doctor.checks import CHECKS
from newsletters.doctor.dns_lookup import parse_resolver
from newsletters.doctor.examination import examine
from newsletters.doctor.findings import Terms
from newsletters.doctor.report import as_json, exit_code, table

EXPLANATION = """\
Exit codes:
  0  nothing is wrong (notes may be there)
  1  warnings, no errors
  2  errors

--json prints one object:
  version    1; a higher number when the meaning of a field changes
  status     "ok", "warning" or "error": the worst level, notes not counted
  exit_code  0, 1 or 2
  counts     how many findings have each level: ok, note, warning, error
  findings   a list of objects with subject, code, level, seen and remedy (empty when there is none)
Codes are stable, such as database.fsync_off; new ones may be added. With --quiet, findings has warnings and
errors only; counts has all.

It changes nothing and sends nothing, unless --mail-to is given, and takes at most 60 seconds.
"""


class Command(BaseCommand):
    help = "Look at settings, database, broker, workers, relay and DNS; name each fault with its remedy."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EXPLANATION
        parser.add_argument("--json", action="store_true", help="print JSON for programs")
        parser.add_argument("--quiet", action="store_true", help="print only what is wrong")
        parser.add_argument("--mail-to", metavar="ADDRESS", type=_address, help="send one test mail there")
        parser.add_argument(
            "--resolver",
            metavar="ADDRESS[:PORT]",
            type=_resolver,
            help="ask this name server (IPv6: [ADDRESS]:PORT) in place of the system's",
        )
        parser.add_argument(
            "--dkim-selector",
            metavar="NAME",
            action="append",
            default=[],
            help="a selector your relay signs with (s= in the DKIM-Signature of a mail); may be repeated",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        terms = Terms(
            mail_to=options["mail_to"] or "",
            resolver=options["resolver"],
            dkim_selectors=tuple(options["dkim_selector"]),
        )
        found = examine(CHECKS, terms)
        quiet = options["quiet"]
        coloured = self.stdout.isatty() and not options["no_color"]
        text = as_json(found, quiet=quiet) if options["json"] else table(found, quiet=quiet, coloured=coloured)
        if text:
            self.stdout.write(text)
        sys.exit(exit_code(found))


def _address(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise ArgumentTypeError(str(error)) from error


def _resolver(text: str) -> tuple[str, int]:
    try:
        return parse_resolver(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
