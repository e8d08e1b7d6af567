"""What transactional mails say. Every link in them begins with BASE_URL."""

from __future__ import annotations

from email.utils import formataddr

from django.conf import settings
from django.core.mail import EmailMessage

from core.mail_text import header_text, write
from core.outbox import Composer
from core.tokens import make_token
from newsletters.models import Notice, NoticeKind, SubscriptionState
from newsletters.publishing.proofing import compose_proof
from newsletters.publishing.senders import is_usable


def compose_confirmation(notice: Notice) -> EmailMessage | None:
    """Ask a reader to confirm; None when the reader has confirmed, left or been erased meanwhile."""
    subscription = notice.subscription
    if subscription is None or subscription.state != SubscriptionState.PENDING:
        return None
    newsletter = subscription.newsletter
    if newsletter.deleted_at is not None:
        return None
    context = {
        "newsletter": newsletter,
        "reader": subscription.subscriber,
        "link": f"{settings.BASE_URL}/c/{make_token('confirm', subscription.pk)}",
    }
    sender = newsletter.sender.address if is_usable(newsletter.sender) else settings.DEFAULT_FROM_EMAIL
    message = write(
        "newsletters/mail/confirmation",
        context,
        subject=f"Please confirm your subscription to {newsletter.name}",
        sender=formataddr((header_text(newsletter.from_name or newsletter.name), sender)),
        to=notice.to_address,
    )
    if newsletter.reply_to:
        message.reply_to = [newsletter.reply_to]
    return message


def compose_sender_verification(notice: Notice) -> EmailMessage | None:
    """Ask the owner of an address to let a publisher send from it; None when that has been settled."""
    sender = notice.sender
    if sender is None or sender.verified_at is not None:
        return None
    context = {
        "publisher": sender.publisher,
        "address": sender.address,
        "link": f"{settings.BASE_URL}/v/{make_token('verify-sender', sender.pk)}",
    }
    return write(
        "newsletters/mail/sender_verification",
        context,
        subject=f"May {sender.publisher.name} send from {sender.address}?",
        sender=settings.DEFAULT_FROM_EMAIL,
        to=notice.to_address,
    )


COMPOSERS: dict[str, Composer[Notice]] = {
    NoticeKind.CONFIRMATION: compose_confirmation,
    NoticeKind.SENDER_VERIFICATION: compose_sender_verification,
    NoticeKind.PROOF: compose_proof,
}
