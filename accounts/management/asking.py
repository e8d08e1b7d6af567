"""What commands ask the person at the terminal."""

from __future__ import annotations

import getpass

from django.core.management.base import CommandError


def ask_password() -> str:
    """Return a password typed twice alike. Raises CommandError when it was not, or when nobody is there to type."""
    try:
        password = getpass.getpass("Password for the owner: ")
        if getpass.getpass("The same again: ") != password:
            raise CommandError("The two passwords differ.")
    except EOFError as error:
        raise CommandError("There is no terminal to ask for a password.") from error
    return password
