"""What mails about accounts say. Every link in them begins with BASE_URL.

A composer returns None when nobody needs the mail any more.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models.functions import Now

from accounts.links import (
    invitation_link,
    log_in_page,
    password_mark,
    reset_link,
    reset_page,
    verification_link,
)
from accounts.models import AccountMail, AccountMailKind, Invitation, User
from accounts.security_events import shown, words
from core.mail_text import write
from core.outbox import Composer


def compose_verification(mail: AccountMail) -> EmailMessage | None:
    """Ask the owner of an address to verify it; None once it is, with another password, or without the account."""
    known = EmailAddress.objects.select_related("user").filter(user__is_active=True)
    address = known.filter(pk=mail.email_address_id).first()
    if address is None or address.verified or mail.password_mark != password_mark(address.user):
        return None
    return _write("verify_address", mail, subject="Please verify your e-mail address", link=verification_link(address))


def compose_address_taken(mail: AccountMail) -> EmailMessage | None:
    """Tell somebody who signed up again that there is an account; None when it is gone."""
    if not User.objects.filter(email__iexact=mail.to_address, is_active=True).exists():
        return None
    context = {"link": log_in_page(), "reset_page": reset_page()}
    return _write("address_taken", mail, subject="You already have an account", **context)


def compose_reset(mail: AccountMail) -> EmailMessage | None:
    """Let somebody set a new password; None when it was set since, or when the address is no longer theirs."""
    user = mail.user
    if user is None or not user.is_active or mail.password_mark != password_mark(user):
        return None
    # Not to an address that they only ask to change to: its owner would be led into an account with others' passkeys.
    theirs = EmailAddress.objects.filter(user=user, email__iexact=mail.to_address, verified=True).exists()
    if not theirs and user.email.lower() != mail.to_address.lower():
        return None
    return _write("reset_password", mail, subject="Choose a new password", link=reset_link(user))


def compose_invitation(mail: AccountMail) -> EmailMessage | None:
    """Invite somebody to a publisher; None when that was accepted or withdrawn, or is too old."""
    standing = Invitation.objects.filter(accepted_at__isnull=True, withdrawn_at__isnull=True, expires_at__gt=Now())
    invitation = standing.select_related("publisher", "invited_by").filter(mails=mail).first()
    if invitation is None or invitation.address.lower() != mail.to_address.lower():
        return None
    by, publisher = invitation.invited_by, shown(invitation.publisher.name)
    return _write(
        "invitation",
        mail,
        subject=f"You are invited to {publisher}",
        link=invitation_link(invitation),
        publisher=publisher,
        inviter=shown(by.get_full_name()) if by is not None else "",
        inviter_address=by.email if by is not None else "",
        invitation=invitation,
    )


def compose_security_notice(mail: AccountMail) -> EmailMessage | None:
    """Tell somebody of what was done to their account, or to a publisher that they own."""
    told = words(mail)
    facts = [("When", f"{mail.created_at:%-d %B %Y, %H:%M} UTC")]
    if "by" in mail.detail:
        facts.append(("By", shown(mail.detail["by"])))
    else:
        # Of somebody's own act only: nobody is told where others were.
        names = (("IP address", "ip"), ("Browser", "user_agent"))
        facts += [(label, shown(mail.detail[name])) for label, name in names if mail.detail.get(name)]
    return _write("security_notice", mail, subject=told["heading"], facts=facts, **told)


COMPOSERS: dict[str, Composer[AccountMail]] = {
    AccountMailKind.VERIFY_ADDRESS: compose_verification,
    AccountMailKind.ADDRESS_TAKEN: compose_address_taken,
    AccountMailKind.RESET_PASSWORD: compose_reset,
    AccountMailKind.INVITATION: compose_invitation,
    AccountMailKind.SECURITY_NOTICE: compose_security_notice,
}


def _write(template: str, mail: AccountMail, *, subject: str, **context: object) -> EmailMessage:
    return write(
        f"accounts/mail/{template}",
        {"host": urlsplit(settings.BASE_URL).netloc, "address": mail.to_address, **context},
        subject=subject,
        sender=settings.DEFAULT_FROM_EMAIL,
        to=mail.to_address,
    )
