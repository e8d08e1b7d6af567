"""Whose an e-mail address is: that of an account which has it, not of one that only asked to change to it."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db.models import Q

from accounts.models import User
from accounts.models.user import requests_for


def is_taken(address: str, *, besides: User | None = None) -> bool:
    """Say whether an account has the address: it is verified there, or the one that the account signed up with."""
    rows, users = EmailAddress.objects.filter(email=address.lower()), User.objects.filter(email__iexact=address)
    if besides is not None:
        rows, users = rows.exclude(user=besides), users.exclude(pk=besides.pk)
    return users.exists() or rows.filter(Q(verified=True) | Q(primary=True)).exists()


def lock_rows_of(address: str) -> list[EmailAddress]:
    """Return the rows of the address as they are now; no other transaction changes them until this one ends."""
    return list(EmailAddress.objects.select_for_update().filter(email=address.lower()).order_by("pk"))


def forget_requests_for(address: str, *, besides: User | None = None) -> None:
    """Remove them: somebody has shown that they read its mail. Their links end with the rows."""
    rows = requests_for(address)
    (rows if besides is None else rows.exclude(user=besides)).delete()
