"""Who may send, and how fast: From addresses are verified by a link mailed to them, or lie in an operator's domain."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from accounts.models import Publisher
from core.addresses import canonical
from core.errors import NotFoundError, invalid_field
from newsletters.delivery import notices
from newsletters.models import Notice, NoticeKind, SenderIdentity

log = structlog.get_logger(__name__)

VERIFICATION_PAUSE = timedelta(minutes=15)
# One mail an hour is the slowest that means anything.
LEAST_RATE, MOST_RATE = 1 / 3600, 100_000
MOST_CONNECTIONS = 1_000


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


def update_sender(sender: SenderIdentity, **changes: Any) -> None:
    """Change `max_rate` (mails a second), `max_connections`, or both; None for no limit.

    Workers follow within seconds, also in the middle of an issue. Raises InvalidError `out_of_range`, and
    NotFoundError when the sender is gone.
    """
    rate, connections = changes.get("max_rate"), changes.get("max_connections")
    if rate is not None and not LEAST_RATE <= rate <= MOST_RATE:
        raise invalid_field("/max_rate", "out_of_range", f"From one mail an hour, 1/3600, to {MOST_RATE:,} a second.")
    if connections is not None and not 1 <= connections <= MOST_CONNECTIONS:
        raise invalid_field("/max_connections", "out_of_range", f"From 1 to {MOST_CONNECTIONS:,} connections at once.")
    if SenderIdentity.objects.filter(pk=sender.pk).update(**changes) != 1:
        raise NotFoundError("not_found", "There is no such object.")
    log.info("sender_limits_changed", sender=sender.pk, **changes)


def is_usable(sender: SenderIdentity) -> bool:
    """Say whether issues may be sent from this address."""
    allowed = {domain.lower().removeprefix("@") for domain in settings.VERIFIED_SENDER_DOMAINS}
    return sender.verified_at is not None or sender.domain.lower() in allowed
