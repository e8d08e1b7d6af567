"""What transactional mails say. Every link in them begins with BASE_URL."""

from __future__ import annotations

import re
from email.charset import QP, Charset
from email.utils import formataddr

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.template.loader import render_to_string

from core.tokens import make_token
from newsletters.delivery.notices import Composer
from newsletters.models import Notice, NoticeKind, SubscriptionState
from newsletters.publishing.proofing import compose_proof
from newsletters.publishing.senders import is_usable

# Bodies go out in 7-bit ASCII with short lines, which no relay needs to change.
_UTF8_QP = Charset("utf-8")
_UTF8_QP.body_encoding = QP
# Characters that end a header line somewhere.
_LINE_BREAKERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


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
    message = _write(
        "confirmation",
        context,
        subject=f"Please confirm your subscription to {newsletter.name}",
        sender=formataddr((_header_text(newsletter.from_name or newsletter.name), sender)),
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
    return _write(
        "sender_verification",
        context,
        subject=f"May {sender.publisher.name} send from {sender.address}?",
        sender=settings.DEFAULT_FROM_EMAIL,
        to=notice.to_address,
    )


COMPOSERS: dict[str, Composer] = {
    NoticeKind.CONFIRMATION: compose_confirmation,
    NoticeKind.SENDER_VERIFICATION: compose_sender_verification,
    NoticeKind.PROOF: compose_proof,
}


def _write(template: str, context: dict[str, object], *, subject: str, sender: str, to: str) -> EmailMultiAlternatives:
    subject = _header_text(subject)
    context = context | {"subject": subject}
    text = render_to_string(f"newsletters/mail/{template}.txt", context)
    html = render_to_string(f"newsletters/mail/{template}.html", context)
    message = EmailMultiAlternatives(subject=subject, body=text, from_email=sender, to=[to])
    message.encoding = _UTF8_QP
    message.attach_alternative(html, "text/html")
    return message


def _header_text(text: str) -> str:
    # "=?" begins an encoded word, which mail programs decode into whatever it hides.
    return _LINE_BREAKERS.sub(" ", text).replace("=?", "= ?").strip()
