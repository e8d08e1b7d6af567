"""The same work for addresses with and without an account, so that the time of an answer does not tell (T17).

Log-in is not here: django-allauth hashes a password for unknown addresses by itself.
"""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.stages import LoginStage
from django.contrib.auth.hashers import make_password
from django.db import transaction

from accounts.mailing import queue
from accounts.models import AccountMailKind, User


class EqualWorkStage(LoginStage):  # type: ignore[misc]  # django-allauth ships no types
    """Hashes a password where sign-up meets an address that has an account, as it does where one is made.

    django-allauth lets such a sign-up go through the stages of a log-in that has no user.
    """

    key = "equal_work"

    def handle(self) -> tuple[Any, bool]:
        if self.login.user is None and self.login.signup:
            make_password("x" * 16)
        return None, True


def as_long_as_a_mail(address: str) -> None:
    """Do what the mail to an address with an account takes, and leave nothing."""
    list(EmailAddress.objects.filter(email=address.lower()).select_related("user"))
    list(User.objects.filter(email=address.lower()))
    with transaction.atomic():
        queue(AccountMailKind.ADDRESS_TAKEN, to=address)
        transaction.set_rollback(True)
