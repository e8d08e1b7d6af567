from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.webauthn.internal import auth as webauthn
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory

from accounts.doors.second_factors import UnreadableSecretError
from accounts.models import AuditEntry, User
from tests import cast
from tests.accounts.doors import App, code_of, is_logged_in, log_in, make_totp, post

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_counted")]
OLD, NEW = "the old signing key, long enough to be one", "the new signing key, long enough to be one"


@pytest.fixture
def user() -> User:
    return cast.make_user()


def try_code(user: User, code: str) -> bool:
    client = Client()
    log_in(client, user.email)
    assert not is_logged_in(client)
    post(client, "mfa_authenticate", code=code)
    return is_logged_in(client)


def test_secrets_of_second_factors_lie_encrypted_in_the_database(user: User) -> None:
    secret = make_totp(user)
    codes = RecoveryCodes.activate(user).generate_codes()
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM mfa_authenticator")
        stored = str(cursor.fetchall())
    assert secret not in stored
    assert codes[0] not in stored
    seed = Authenticator.objects.get(type="recovery_codes").data["seed"]
    assert seed.startswith("gAAAA")
    assert get_adapter().decrypt(seed) not in stored


def test_codes_outlive_a_new_signing_key_and_end_with_the_old_one(user: User, settings: Any) -> None:
    settings.SIGNING_KEYS = (OLD,)
    secret = make_totp(user)
    settings.SIGNING_KEYS = (NEW, OLD)
    assert try_code(user, code_of(secret))
    cache.clear()
    settings.SIGNING_KEYS = (NEW,)
    with pytest.raises(UnreadableSecretError):
        try_code(user, code_of(secret))


def test_a_recovery_code_works_once(user: User) -> None:
    make_totp(user)
    code = RecoveryCodes.activate(user).generate_codes()[0]
    assert try_code(user, code)
    assert not try_code(user, code)


def test_a_program_is_asked_for_the_code_as_well(user: User) -> None:
    secret = make_totp(user)
    app = App()
    answer = app.post("auth/login", email=user.email, password=cast.PASSWORD)
    assert answer.status_code == 401
    assert [flow["id"] for flow in answer.json()["data"]["flows"] if flow.get("is_pending")] == ["mfa_authenticate"]
    assert app.call("GET", "account/email").status_code == 401
    assert app.post("auth/2fa/authenticate", code="000000").status_code == 400
    assert app.post("auth/2fa/authenticate", code=code_of(secret)).status_code == 200


def test_the_app_shows_courant_and_the_address(user: User) -> None:
    url = get_adapter().build_totp_url(user, "SECRET")
    assert url == "otpauth://totp/editor%40gazette.example?secret=SECRET&issuer=Courant"


@pytest.mark.parametrize("host", ["testserver", "evil.example", "news.example.org.evil.example"])
def test_t20_passkeys_are_bound_to_the_public_address_whatever_the_host_header_says(host: str, settings: Any) -> None:
    settings.BASE_URL, settings.ALLOWED_HOSTS = "https://news.example.org:8443", ["*"]
    request = RequestFactory().get("/", headers={"Host": host})
    with webauthn.context.request_context(request):
        entity = get_adapter().get_public_key_credential_rp_entity()
    assert entity == {"id": "news.example.org", "name": "Courant"}


def test_passkeys_are_offered_at_log_in(settings: Any) -> None:
    settings.BASE_URL = "https://news.example.org"
    answer = App().call("GET", "auth/webauthn/login")
    assert (answer.status_code, answer.json()["data"]["request_options"]["publicKey"]["rpId"]) == (
        200,
        "news.example.org",
    )


def test_where_no_script_runs_a_second_factor_is_set_up_and_used(user: User) -> None:
    client = Client()
    log_in(client, user.email)
    post(client, "account_reauthenticate", password=cast.PASSWORD)
    page = client.get("/account/2fa/totp/activate/").content.decode()
    secret = client.session["mfa.totp.secret"]
    assert secret in page
    assert post(client, "mfa_activate_totp", code=code_of(secret)).status_code == 302
    cache.clear()
    assert try_code(user, code_of(secret))


@pytest.mark.parametrize("change", ["password", "closed"])
def test_a_log_in_that_waits_for_a_code_ends_with_the_password_and_the_account(user: User, change: str) -> None:
    secret = make_totp(user)
    client, app = Client(), App()
    log_in(client, user.email)
    assert app.post("auth/login", email=user.email, password=cast.PASSWORD).status_code == 401
    if change == "password":
        user.set_password("another long pass phrase")
    user.is_active = change != "closed"
    user.save()
    assert post(client, "mfa_authenticate", code=code_of(secret))["Location"] == "/account/login/"
    assert not is_logged_in(client)
    cache.clear()
    assert app.post("auth/2fa/authenticate", code=code_of(secret, steps=1)).status_code == 401
    assert app.call("GET", "account/email").status_code == 401
    assert not AuditEntry.objects.filter(action="session.started").exists()
