"""The adapter: what django-allauth asks Courant to decide."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from accounts.doors.invited import invitation_of
from accounts.doors.mail import QueuedMailMixin
from core.addresses import canonical
from core.errors import CourantError


class AccountAdapter(QueuedMailMixin, DefaultAccountAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Accounts of people whose log-in is their e-mail address."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        if settings.SIGN_UP == "invitation":
            return invitation_of(request) is not None
        return bool(settings.SIGN_UP == "open")

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
