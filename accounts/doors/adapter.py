"""The adapter: what django-allauth asks Courant to decide."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest

from accounts.doors.mail import QueuedMailMixin


class AccountAdapter(QueuedMailMixin, DefaultAccountAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Accounts of people whose log-in is their e-mail address."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(settings.SIGN_UP == "open")
