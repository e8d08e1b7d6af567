"""Make a publisher from the command line: the first step of an installation without a browser."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.core.validators import validate_email

from accounts.audit import Actor
from accounts.management.asking import ask_password
from accounts.models import ActorKind
from accounts.publishers import create_publisher
from core.errors import CourantError
from core.management.database_command import DatabaseCommand


class Command(DatabaseCommand):
    help = "Create a publisher (the tenant that owns newsletters, readers and keys) and print its public id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", required=True, help="the publisher's name, at most 100 characters")
        parser.add_argument("--time-zone", default="UTC", help="IANA name such as Europe/Berlin; UTC by default")
        parser.add_argument("--owner-email", default="", help="e-mail address of its owner, created when unknown")
        parser.add_argument(
            "--ask-password",
            action="store_true",
            help="ask for the new owner's password, with which the admin can be used; without it none is set",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            if options["owner_email"]:
                validate_email(options["owner_email"])
            password = ask_password() if options["ask_password"] else None
            if password is not None:
                validate_password(password)
            publisher = create_publisher(
                name=options["name"],
                time_zone=options["time_zone"],
                owner_email=options["owner_email"],
                owner_password=password,
                actor=Actor(ActorKind.COMMAND, "create_publisher"),
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except CourantError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(publisher.uid)
