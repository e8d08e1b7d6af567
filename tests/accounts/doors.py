"""How tests go through the doors: pages with a browser's session, JSON with a session token."""

from __future__ import annotations

import json
from typing import Any

from allauth.mfa.totp.internal import auth as totp
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests import cast

ZOE = "zoe@example.org"


def forget_limits() -> None:
    """Start with nothing counted: the limits of one test must not reach the next."""
    cache.clear()


def post(client: Client, page: str, /, **data: Any) -> Any:
    """Post a form of django-allauth to the page of this name."""
    return client.post(reverse(page), data)


def sign_up(client: Client, address: str = ZOE, **fields: Any) -> Any:
    return post(client, "account_signup", **({"email": address, "password1": cast.PASSWORD} | fields))


def log_in(client: Client, address: str = ZOE, password: str = cast.PASSWORD, **fields: Any) -> Any:
    return post(client, "account_login", login=address, password=password, **fields)


def is_logged_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


class App:
    """An API client: keeps the session token that answers carry."""

    def __init__(self) -> None:
        self._client = Client()
        self.token = ""

    def call(self, method: str, path: str, data: Any = None, **headers: str) -> Any:
        """Return the answer; `path` is such as "auth/login"."""
        if self.token:
            headers["X-Session-Token"] = self.token
        body = None if data is None else json.dumps(data)
        answer = self._client.generic(
            method, f"/account/api/app/v1/{path}", body or b"", "application/json", headers=headers
        )
        if answer.headers.get("Content-Type") == "application/json":
            self.token = (answer.json().get("meta") or {}).get("session_token") or self.token
        return answer

    def post(self, path: str, **data: Any) -> Any:
        return self.call("POST", path, data)


def make_totp(user: User) -> str:
    """Give the user an authenticator app; return its secret."""
    secret = str(totp.generate_totp_secret())
    totp.TOTP.activate(user, secret)
    return secret


def code_of(secret: str, *, steps: int = 0) -> str:
    """Return the code that the app shows now, or so many times 30 s later."""
    # The clock by which codes are checked, which may stand still.
    counter = int(totp.time.time()) // 30 + steps
    return str(totp.format_hotp_value(totp.hotp_value(secret, counter)))
