"""The adapter: what django-allauth asks Courant to decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.doors.devices import DevicesMixin
from accounts.doors.equal_work import as_long_as_a_mail
from accounts.doors.invited import invitation_of
from accounts.doors.mail import QueuedMailMixin
from accounts.doors.trail import TrailMixin
from accounts.models import User
from core.addresses import canonical
from core.client_address import client_address
from core.errors import CourantError

# RFC 1122, 3.2.1.3: no host has it.
UNKNOWN_ADDRESS = "0.0.0.0"  # noqa: S104  # nothing is bound to it
UNKNOWN_ACCOUNT = "account/email/unknown_account"


class AccountAdapter(DevicesMixin, TrailMixin, QueuedMailMixin, DefaultAccountAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Accounts of people whose log-in is their e-mail address."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        if settings.SIGN_UP == "invitation":
            return invitation_of(request) is not None
        return bool(settings.SIGN_UP == "open")

    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        # A span becomes the moment of the end, which no later change puts off.
        request.session.set_expiry(timedelta(seconds=settings.SESSION_COOKIE_AGE))

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address as the operator's proxies vouch for it; all unknown ones count as one."""
        return client_address(request) or UNKNOWN_ADDRESS

    def is_safe_url(self, url: str | None) -> bool:
        """Say whether somebody may be led on to this address; what is none (`//[`) they may not."""
        try:
            return bool(super().is_safe_url(url))
        except ValueError:
            return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # django-allauth puts the Host header in front, whose port is the client's own choice: each port would be
        # a new set of guesses.
        return str(credentials.get("email", "")).lower()

    def get_login_stages(self) -> list[str]:
        first = ["accounts.doors.equal_work.EqualWorkStage", "accounts.doors.unchanged.BeginningStage"]
        return [*first, *super().get_login_stages(), "accounts.doors.unchanged.EndStage"]

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Mail nothing to an address without an account; take as long about it as with one."""
        if template_prefix == UNKNOWN_ACCOUNT:
            as_long_as_a_mail(email)
        else:
            super().send_mail(template_prefix, email, context)

    def is_email_verified(self, request: HttpRequest, email: str) -> bool:
        """Say whether the address needs no mail: who has the link of an invitation can read its mailbox."""
        invitation = invitation_of(request)
        return invitation is not None and invitation.address.lower() == email.lower()

    def stash_verified_email(self, request: HttpRequest, email: str) -> None:
        """Keep nothing: the invitation itself says which address is verified."""

    def unstash_verified_email(self, request: HttpRequest) -> str | None:
        return None

    def clean_email(self, email: str) -> str:
        """Return the canonical address. Raises ValidationError for one that mail cannot be sent to."""
        try:
            return canonical(email).key
        except CourantError as error:
            raise ValidationError(error.errors[0].detail, code=error.code) from error
