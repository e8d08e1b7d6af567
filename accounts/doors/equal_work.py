"""The same work for addresses with and without an account, so that the time of an answer does not tell (T17).

Log-in is not here: django-allauth hashes a password for unknown addresses by itself.
"""

from __future__ import annotations

import secrets
from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.stages import LoginStage
from django.db import transaction
from django.http import HttpRequest

from accounts.doors.trail import note
from accounts.mailing import queue
from accounts.models import AccountMailKind, User


class EqualWorkStage(LoginStage):  # type: ignore[misc]  # django-allauth ships no types
    """Makes an account and takes it back where sign-up meets an address that has one.

    django-allauth lets such a sign-up go through the stages of a log-in that has no user.
    """

    key = "equal_work"

    def handle(self) -> tuple[Any, bool]:
        if self.login.user is None and self.login.signup:
            as_long_as_an_account(self.request)
        return None, True


def as_long_as_an_account(request: HttpRequest) -> None:
    """Do what making an account takes, and leave nothing."""
    with transaction.atomic():
        # Nobody can have this address, so that no sign-up waits for it.
        user = User.objects.create_user(f"{secrets.token_hex()}@nobody.invalid", "x" * 16)
        note("user.signed_up", user, request)
        transaction.set_rollback(True)


def as_long_as_a_mail(address: str) -> None:
    """Do what the mail to an address with an account takes, and leave nothing."""
    list(EmailAddress.objects.filter(email=address.lower()).select_related("user"))
    list(User.objects.filter(email=address.lower()))
    with transaction.atomic():
        queue(AccountMailKind.ADDRESS_TAKEN, to=address)
        transaction.set_rollback(True)
