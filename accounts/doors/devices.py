"""Log-ins from a browser or program that was never used before are told to the account's owner.

A browser is known by a random cookie that outlives its sessions; a program, which keeps none, by its User-Agent.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.internal.httpkit import is_headless_request
from django.conf import settings
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse

from accounts.models import KnownDevice, User

COOKIE_BYTES = 32
COOKIE_AGE = timedelta(days=400)  # the longest that browsers keep one (RFC 6265bis, 5.5)
MOST_DEVICES = 100


class DevicesMixin(DefaultAccountAdapter):  # type: ignore[misc]  # django-allauth ships no types
    """Remembers devices at log-in."""

    def post_login(self, request: HttpRequest, user: User, **about: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **about)
        token = ""
        if is_headless_request(request):
            digest = _digest("program", request.headers.get("User-Agent", ""))
        else:
            token = request.COOKIES.get(settings.DEVICE_COOKIE_NAME) or secrets.token_urlsafe(COOKIE_BYTES)
            digest = _digest("browser", token)
        # At the very first log-in every device is new.
        is_first = not KnownDevice.objects.filter(user=user).exists()
        if remember_device(user, digest) and not is_first:
            self.send_notification_mail("account/email/new_device", user)
        if token:
            _keep(response, token)
        return response


def remember_device(user: User, digest: bytes) -> bool:
    """Note that this device was used now; return whether it was never used before."""
    if KnownDevice.objects.filter(user=user, digest=digest).update(last_used_at=Now()):
        return False
    KnownDevice.objects.bulk_create([KnownDevice(user=user, digest=digest)], ignore_conflicts=True)
    kept = KnownDevice.objects.filter(user=user).order_by("-last_used_at", "-pk")[:MOST_DEVICES]
    KnownDevice.objects.filter(user=user).exclude(pk__in=list(kept.values_list("pk", flat=True))).delete()
    return True


def _digest(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind}:{text}".encode()).digest()


def _keep(response: HttpResponse, token: str) -> None:
    response.set_cookie(
        settings.DEVICE_COOKIE_NAME,
        token,
        max_age=COOKIE_AGE,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
