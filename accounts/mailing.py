"""Mails about accounts: queued with what causes them, never sent in a request."""

from __future__ import annotations

import datetime
from typing import Any

from allauth.account.models import EmailAddress
from django.db.models import Q
from django.db.models.functions import Now

from accounts.links import password_mark
from accounts.mail_composers import COMPOSERS
from accounts.models import AccountMail, AccountMailKind, Invitation, User
from core.models import MailState
from core.outbox import Guard, Outbox

OUTBOX = Outbox(AccountMail.objects, "account", keeps_intents=True)
# Rows hold addresses, and what was said to whom is of no use for long.
KEPT = datetime.timedelta(days=30)
FORGOTTEN_AT_ONCE = 1_000
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
    `user` and a `detail` with `event`. Whoever asks again for a mail that still waits gets that one, at once. Raises
    IntegrityError without what the kind needs.
    """
    fields = {
        "kind": kind,
        "to_address": to,
        "user": user,
        "email_address": email_address,
        "invitation": invitation,
        "detail": detail or {},
        "password_mark": password_mark(user) if user is not None and kind in _ABOUT_THE_PASSWORD else "",
    }
    if kind != AccountMailKind.SECURITY_NOTICE:
        waiting = AccountMail.objects.filter(**fields, state=MailState.QUEUED).order_by("pk").first()
        if waiting is not None and _hurry(waiting):
            return waiting
    return AccountMail.objects.create(**fields)


def due_ids(limit: int) -> list[int]:
    """Return the ids of mails that wait for a worker now, those due longest first."""
    return [pk for pk, _ in OUTBOX.due_ids(limit)]


def send(account_mail_id: int, *, guard: Guard) -> None:
    """Send one mail if it is due and nobody else is sending it (`Outbox.send`)."""
    OUTBOX.send(account_mail_id, composers=COMPOSERS, guard=guard)


def forget_old() -> int:
    """Remove mails that ended 30 days ago, at most 1,000; returns how many."""
    old = Q(sent_at__lt=Now() - KEPT) | Q(sent_at__isnull=True, created_at__lt=Now() - KEPT)
    ended = AccountMail.objects.filter(old, state__in=[MailState.SENT, MailState.FAILED])
    some = list(ended.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    return AccountMail.objects.filter(pk__in=some).delete()[0] if some else 0


def _hurry(mail: AccountMail) -> bool:
    still_waits = AccountMail.objects.filter(pk=mail.pk, state=MailState.QUEUED)
    return still_waits.update(next_at=Now()) == 1
