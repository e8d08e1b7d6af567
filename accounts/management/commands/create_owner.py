"""Make the first owner of an installation from the command line."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from accounts.management.asking import ask_password
from accounts.models import User
from accounts.owners import create_owner
from core.errors import CourantError
from core.management.database_command import DatabaseCommand


class Command(DatabaseCommand):
    help = (
        "Make somebody an owner of a publisher, who may log in and open the admin, and print the publisher's id. "
        "Whoever has an account already keeps it. Who has no password and is given none is mailed a link to set one; a "
        "password counts for nothing while its owner has not verified the address. "
        "Ends with 0, with 1 and one line on standard error when nothing was changed, with 2 for wrong arguments."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True, help="the owner's e-mail address, with which they log in")
        parser.add_argument("--name", default="", help="what others call them")
        parser.add_argument(
            "--publisher",
            default="",
            help="id or name of the publisher, which is created when nobody has that name; without it the only one "
            "there is, or a first one named after the site",
        )
        password = parser.add_mutually_exclusive_group()
        password.add_argument("--ask-password", action="store_true", help="ask for the password, twice")
        password.add_argument("--password-stdin", action="store_true", help="take the first line of the input for it")

    def handle(self, *_args: Any, **options: Any) -> None:
        password: str | None = None
        if options["ask_password"]:
            password = ask_password()
        if options["password_stdin"]:
            password = sys.stdin.readline().rstrip("\r\n")
        try:
            if password is not None:
                validate_password(password, User(email=options["email"], name=options["name"]))
            membership = create_owner(
                email=options["email"], name=options["name"], publisher=options["publisher"], password=password
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except CourantError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(membership.publisher.uid)
        if not membership.user.has_usable_password():
            self.stderr.write(f"A link to set the password is on its way to {membership.user.email}.")
