"""Who must have a second factor, and what they may do until they have one: set it up, or log out."""

from __future__ import annotations

from collections.abc import Callable

from allauth.core.internal.sessionkit import get_session_user
from allauth.headless import app_settings as headless_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import Resolver404, resolve, reverse

from accounts.doors.json_only import API_PREFIX, answer_error
from accounts.models import User

FACTORS = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
# The address of the API for programs, which know no sessions.
KEYS_PREFIX = "/api/"
# What it takes to set up a second factor (with a verified address), to say again who one is, and to leave.
PAGES: tuple[str, ...] = ("mfa_", "account_logout", "account_reauthenticate", "account_set_password")
PAGES += ("account_email", "account_confirm_email")
# What the links in newsletters lead to: the same person may be a reader.
PAGES += ("confirm", "unsubscribe", "subscribe-again", "verify-sender")
OPERATIONS: tuple[str, ...] = ("headless:app:mfa:", "headless:app:config", "headless:app:account:current_session")
OPERATIONS += ("headless:app:account:reauthenticate", "headless:app:account:manage_email")
# Where somebody wanted to go when they were led to set up a second factor, in their session.
WANTED = "wanted_page"


def must_have_one(user: User) -> bool:
    """Say whether the operator wants this person to have a second factor (REQUIRE_MFA)."""
    if settings.REQUIRE_MFA == "staff":
        return user.is_staff or user.is_superuser
    return bool(settings.REQUIRE_MFA == "everyone")


def lacks_one(user: User) -> bool:
    """Say whether this person must have a second factor and has none; recovery codes alone are none."""
    return must_have_one(user) and not is_mfa_enabled(user, FACTORS)


class SecondFactorMiddleware:
    """Shows nothing to whom a second factor is missing but the way to set it up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.REQUIRE_MFA == "nobody" or request.path_info.startswith(KEYS_PREFIX):
            return self._get_response(request)
        in_json = request.path_info.startswith(API_PREFIX)
        user = _caller(request) if in_json else request.user
        if not isinstance(user, User) or not lacks_one(user):
            if not in_json and request.session.get(WANTED) == request.get_full_path():
                del request.session[WANTED]
            return self._get_response(request)
        if _name(request).startswith(OPERATIONS if in_json else PAGES):
            return self._get_response(request)
        return _refusal() if in_json else _lead(request)


def wanted_page(request: HttpRequest) -> str:
    """Return the page that somebody was kept from and may open now, "" where there is none."""
    wanted: str = request.session.get(WANTED, "")
    return "" if not wanted or lacks_one(request.user) else wanted  # type: ignore[arg-type]  # only who is logged in was


def _caller(request: HttpRequest) -> User | None:
    """Return whose session token the request carries; django-allauth looks at it only within its views."""
    strategy = headless_settings.TOKEN_STRATEGY
    token = strategy.get_session_token(request)
    session = strategy.lookup_session(token) if token else None
    user: User | None = get_session_user(session) if session else None
    return user


def _name(request: HttpRequest) -> str:
    try:
        return resolve(request.path_info).view_name
    except Resolver404:
        return ""


def _lead(request: HttpRequest) -> HttpResponse:
    if request.method == "GET":
        messages.warning(request, "Set up a second factor first; this site asks for one.")
        # The first page that there is, unless it was the start page, to which every log-in leads.
        if _name(request) and request.session.get(WANTED, "/") == "/":
            request.session[WANTED] = request.get_full_path()
    return HttpResponseRedirect(reverse("mfa_index"))


def _refusal() -> HttpResponse:
    """Answer in the form of django-allauth's errors."""
    message = "Set up a second factor first (account/authenticators); this site asks for one."
    return answer_error(403, "second_factor_required", message)
