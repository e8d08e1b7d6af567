"""The mail of django-allauth's adapter: every mail becomes a row, and nothing is ever sent in a request.

And what its links are worth, which a password or their use ends.
"""

from __future__ import annotations

from typing import Any

import structlog
from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.core.internal.httpkit import HTTP_USER_AGENT_MAX_LENGTH
from django.db import transaction
from django.http import HttpRequest

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
        """Verify an address, unless its link was used or ended a moment ago."""
        with transaction.atomic():
            rows = EmailAddress.objects.select_for_update().filter(pk=email_address.pk, verified=False)
            return rows.first() is not None and bool(super().confirm_email(request, email_address))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Refuse what is left: mails with codes and to unknown addresses, which the settings turn off."""
        log.error("account_mail_without_a_kind", template=template_prefix)
