"""Who may send: From addresses are verified by a link mailed to them, or lie in a domain of the operator's."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Publisher
from core.errors import NotFoundError
from newsletters.audience.addresses import canonical
from newsletters.delivery import notices
from newsletters.models import Notice, NoticeKind, SenderIdentity

VERIFICATION_PAUSE = timedelta(minutes=15)


def identify(publisher: Publisher, address: str) -> SenderIdentity:
    """Return the publisher's sender identity for an address, a new and unverified one if need be.

    Raises InvalidError `invalid_address`.
    """
    who = canonical(address)
    known = SenderIdentity.objects.filter(publisher=publisher, address__iexact=who.key).order_by("pk").first()
    return known or SenderIdentity.objects.get_or_create(publisher=publisher, address=who.key)[0]


def request_verification(sender: SenderIdentity) -> Notice | None:
    """Queue a mail with the link that verifies a sender, at most one in 15 minutes.

    Returns None when none is needed, or one was queued a moment ago.
    """
    with transaction.atomic():
        locked = SenderIdentity.objects.select_for_update().filter(pk=sender.pk).first()
        if locked is None or is_usable(locked):
            return None
        lately = Notice.objects.filter(sender=locked, created_at__gt=Now() - VERIFICATION_PAUSE)
        if lately.exists():
            return None
        return notices.queue(NoticeKind.SENDER_VERIFICATION, to=locked.address, sender=locked)


def verify(sender_id: int) -> SenderIdentity:
    """Note that somebody opened the link mailed to the address; the first time counts.

    Raises NotFoundError `not_found`.
    """
    SenderIdentity.objects.filter(pk=sender_id, verified_at__isnull=True).update(verified_at=Now())
    sender = SenderIdentity.objects.filter(pk=sender_id).first()
    if sender is None:
        raise NotFoundError("not_found", "There is no such sender.")
    return sender


def is_usable(sender: SenderIdentity) -> bool:
    """Say whether issues may be sent from this address."""
    allowed = {domain.lower().removeprefix("@") for domain in settings.VERIFIED_SENDER_DOMAINS}
    return sender.verified_at is not None or sender.domain.lower() in allowed
