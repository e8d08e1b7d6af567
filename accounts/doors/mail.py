"""The mail of django-allauth's adapter: every mail becomes a row, and nothing is ever sent in a request.

And what its links are worth, which a password or their use ends.
"""

from __future__ import annotations

from typing import Any

import structlog
from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal.httpkit import HTTP_USER_AGENT_MAX_LENGTH
from django.db import transaction
from django.http import HttpRequest

from accounts.claims import forget_requests_for, is_taken, lock_rows_of
from accounts.doors.refusals import refusal
from accounts.links import end_links
from accounts.mailing import queue
from accounts.models import AccountMailKind, User
from core.client_address import client_address

log = structlog.get_logger(__name__)


class QueuedMailMixin(DefaultAccountAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """What the adapter does instead of sending, and to links that were sent."""

    def send_confirmation_mail(
        self, request: HttpRequest, emailconfirmation: EmailConfirmationHMAC, signup: bool
    ) -> None:
        address = emailconfirmation.email_address
        queue(AccountMailKind.VERIFY_ADDRESS, to=address.email, user=address.user, email_address=address)

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        queue(AccountMailKind.RESET_PASSWORD, to=email, user=user)

    def send_account_already_exists_mail(self, email: str) -> None:
        queue(AccountMailKind.ADDRESS_TAKEN, to=email)

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        to = email or EmailAddress.objects.get_primary_email(user)
        if not to or not app_settings.EMAIL_NOTIFICATIONS:
            return
        detail = {
            "event": template_prefix.rpartition("/")[2],
            "ip": client_address(self.request),
            "user_agent": self.get_http_user_agent(self.request)[:HTTP_USER_AGENT_MAX_LENGTH],
            **{name: str(value) for name, value in (context or {}).items()},
        }
        queue(AccountMailKind.SECURITY_NOTICE, to=to, user=user, detail=detail)

    def set_password(self, user: User, password: str) -> None:
        """Set a password; no link that was mailed before outlives it."""
        with transaction.atomic():
            super().set_password(user, password)
            end_links(user)

    def confirm_email(self, request: HttpRequest, email_address: EmailAddress) -> bool:
        """Verify an address, unless its link was used or ended a moment ago, or the address is another account's now.

        Whoever else had only asked to change to it has lost it. Raises ImmediateHttpResponse: for a refusal django-
        allauth has no answer in JSON.
        """
        with transaction.atomic():
            # Of several who verify one address at once each finds what the others did.
            rows = lock_rows_of(email_address.email)
            if not any(row.pk == email_address.pk and not row.verified for row in rows):
                raise ImmediateHttpResponse(refusal(request, "invalid_or_expired_key"))
            taken = is_taken(email_address.email, besides=email_address.user)
            if taken or not super().confirm_email(request, email_address):
                raise ImmediateHttpResponse(refusal(request, "email_taken", email_address.email))
            forget_requests_for(email_address.email, besides=email_address.user)
        return True

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Refuse what is left: mails with codes and to unknown addresses, which the settings turn off."""
        log.error("account_mail_without_a_kind", template=template_prefix)
