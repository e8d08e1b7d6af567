"""Mails about accounts: queued with what causes them, never sent in a request."""

from __future__ import annotations

import hmac
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings

from accounts.models import AccountMail, AccountMailKind, Invitation, User
from core.tokens import derive_key

# Kinds with a link that a change of the password makes worthless.
_ABOUT_THE_PASSWORD = frozenset({AccountMailKind.VERIFY_ADDRESS, AccountMailKind.RESET_PASSWORD})


def queue(
    kind: AccountMailKind,
    *,
    to: str,
    user: User | None = None,
    email_address: EmailAddress | None = None,
    invitation: Invitation | None = None,
    detail: dict[str, Any] | None = None,
) -> AccountMail:
    """Queue one mail about what `kind` is about; it is composed when it is sent, and no secret lies in its row.

    VERIFY_ADDRESS needs `user` and `email_address`, RESET_PASSWORD `user`, INVITATION `invitation`, SECURITY_NOTICE
    `user` and a `detail` with `event`. Raises IntegrityError without what the kind needs.
    """
    mark = password_mark(user) if user is not None and kind in _ABOUT_THE_PASSWORD else ""
    return AccountMail.objects.create(
        kind=kind,
        to_address=to,
        user=user,
        email_address=email_address,
        invitation=invitation,
        detail=detail or {},
        password_mark=mark,
    )


def password_mark(user: User) -> str:
    """Return 32 characters that another password of this user would change, and that say nothing about it."""
    key = derive_key("password-mark", settings.SIGNING_KEYS[-1])
    return hmac.digest(key, user.password.encode(), "sha256")[:16].hex()
