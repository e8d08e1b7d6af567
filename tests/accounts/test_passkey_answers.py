"""What is sent in the place of a passkey's answer: a wrong form of it is a wrong code, and no fault of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from fido2.utils import websafe_encode

from accounts.models import User
from tests import cast
from tests.accounts.doors import App, is_logged_in, log_in, post

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
SAID = websafe_encode(json.dumps({"type": "webauthn.get", "challenge": "AA", "origin": "https://testserver"}).encode())
FACTS = websafe_encode(b"\0" * 37)
NAMED = {"id": "AA", "rawId": "AA", "type": "public-key"}
SIGNED = {"clientDataJSON": SAID, "authenticatorData": FACTS, "signature": "AA"}
CREDENTIALS: list[dict[str, Any]] = [
    {"id": 1},
    {"id": "AA"},
    {"id": "é", "rawId": "é", "type": "public-key", "response": {}},
    NAMED | {"response": None},
    NAMED | {"response": []},
    NAMED | {"response": {"clientDataJSON": "AA", "attestationObject": "AA"}},
    NAMED | {"response": {"clientDataJSON": 5, "attestationObject": None}},
    NAMED | {"response": {"clientDataJSON": SAID, "attestationObject": "oA"}},
    NAMED | {"response": SIGNED},
    NAMED | {"response": SIGNED | {"userHandle": 5}},
    NAMED | {"response": SIGNED | {"userHandle": websafe_encode(b"9" * 5000)}},
    NAMED | {"response": SIGNED | {"userHandle": websafe_encode(b"\xff")}},
    NAMED | {"response": SIGNED | {"userHandle": websafe_encode(b"1\0")}},
]
# As a form can carry them, and a body of the API cannot.
TEXTS = ["9" * 5000, "[" * 5000, '{"id":' * 5000, "NaN", '{"id": 1, "id": 2}', "\0", "\ud800", "null", '"x"', "[]"]


@pytest.fixture
def user() -> User:
    return cast.make_user()


@pytest.fixture
def browser(user: User) -> Client:
    client = Client()
    log_in(client, user.email)
    post(client, "account_reauthenticate", password=cast.PASSWORD)
    return client


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_a_stranger_s_is_refused(credential: dict[str, Any]) -> None:
    client, app = Client(), App()
    assert app.call("GET", "auth/webauthn/login").status_code == 200
    assert app.post("auth/webauthn/login", credential=credential).status_code == 400
    client.get(reverse("mfa_login_webauthn"))
    assert post(client, "mfa_login_webauthn", credential=json.dumps(credential)).status_code < 500
    assert not is_logged_in(client)


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_somebody_s_who_adds_one_is_refused(user: User, browser: Client, credential: dict[str, Any]) -> None:
    assert browser.get(reverse("mfa_add_webauthn")).status_code == 200
    answer = post(browser, "mfa_add_webauthn", name="Laptop", credential=json.dumps(credential))
    assert (answer.status_code, Authenticator.objects.count()) == (200, 0)
    app = App()
    cache.clear()
    assert app.post("auth/login", email=user.email, password=cast.PASSWORD).status_code == 200
    assert app.post("auth/reauthenticate", password=cast.PASSWORD).status_code == 200
    assert app.call("GET", "account/authenticators/webauthn").status_code == 200
    refused = app.post("account/authenticators/webauthn", name="Laptop", credential=credential)
    assert (refused.status_code, Authenticator.objects.count()) == (400, 0)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_object_is_refused(browser: Client, text: str) -> None:
    for page in ("mfa_add_webauthn", "mfa_login_webauthn", "mfa_reauthenticate_webauthn"):
        browser.get(reverse(page))
        data = {"credential": text.encode(errors="surrogatepass").decode(errors="replace"), "name": "Laptop"}
        assert browser.post(reverse(page), data).status_code < 500, page
