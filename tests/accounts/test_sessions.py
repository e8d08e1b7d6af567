"""T25, T24, T20 and session fixation: what a session is bound to, and what ends it."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.links import reset_link
from accounts.models import AccountMail, User
from tests import cast
from tests.accounts.doors import App, is_logged_in, log_in, post
from tests.services.environment import ROOT, clean_environment

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_counted")]
NEW = "another long pass phrase"
ODD_BODIES = ["[]", "null", "1", '{"email": ["x"]}', '{"email": {"a": 1}, "password": 7}', "{", "\x00"]
FOREIGN_HOSTS = ["evil.example", "testserver.evil.example", "testserver@evil.example", "evil.example:80"]
CHANGED = {"oldpassword": cast.PASSWORD, "password1": NEW, "password2": NEW}


@pytest.fixture
def user() -> User:
    return cast.make_user()


def logged_in(user: User) -> Client:
    client = Client()
    log_in(client, user.email)
    assert is_logged_in(client)
    return client


def app_of(user: User) -> App:
    app = App()
    assert app.post("auth/login", email=user.email, password=cast.PASSWORD).status_code == 200
    return app


def test_a_session_that_somebody_else_began_does_not_become_the_owners(user: User) -> None:
    attacker = Client()
    session = attacker.session
    session["planted"] = "x"
    session.save()
    planted = attacker.cookies["courant-session"].value
    victim = Client()
    victim.cookies["courant-session"] = planted
    log_in(victim, user.email)
    assert victim.cookies["courant-session"].value != planted
    assert not is_logged_in(attacker)
    assert not Session.objects.filter(pk=planted).exists()


def test_a_token_from_before_log_in_is_worth_nothing_after_it(user: User) -> None:
    app = App()
    app.call("GET", "auth/webauthn/login")
    before = app.token
    app.post("auth/login", email=user.email, password=cast.PASSWORD)
    assert before
    assert app.token != before
    stale = App()
    stale.token = before
    assert stale.call("GET", "auth/session").status_code == 410


def test_a_session_id_that_was_never_given_out_is_not_taken(user: User) -> None:
    client = Client()
    client.cookies["courant-session"] = "a" * 32
    log_in(client, user.email)
    assert client.cookies["courant-session"].value != "a" * 32
    app = App()
    app.token = "b" * 32
    assert app.post("auth/login", email=user.email, password=cast.PASSWORD).status_code == 410


@pytest.mark.parametrize("door", ["page", "json"])
def test_a_session_ends_after_14_days_whatever_is_done_meanwhile(user: User, door: str) -> None:
    client, app = Client(), App()
    _ = (
        log_in(client, user.email)
        if door == "page"
        else app.post("auth/login", email=user.email, password=cast.PASSWORD)
    )
    row = Session.objects.get()
    end = row.expire_date
    assert timedelta(days=13, hours=23) < end - timezone.now() <= timedelta(days=14)
    # What a change three days later would make of it.
    later = SessionStore(row.session_key).get_expiry_date(modification=timezone.now() + timedelta(days=3))
    assert abs(later - end) < timedelta(seconds=2)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    if door == "page":
        assert client.get("/account/email/").status_code == 302
    else:
        assert app.call("GET", "auth/session").status_code in (401, 410)


def test_a_changed_password_ends_every_other_session_and_token(user: User) -> None:
    mine, other, app = logged_in(user), logged_in(user), app_of(user)
    post(mine, "account_change_password", **CHANGED)
    assert mine.get("/account/email/").status_code == 200
    assert other.get("/account/email/").status_code == 302
    assert app.call("GET", "auth/session").status_code in (401, 410)


def test_a_program_that_changes_the_password_ends_every_other_session(user: User) -> None:
    app, other, client = app_of(user), app_of(user), logged_in(user)
    changed = app.post("account/password/change", current_password=cast.PASSWORD, new_password=NEW)
    assert (changed.status_code, app.call("GET", "auth/session").status_code) == (200, 200)
    assert other.call("GET", "auth/session").status_code in (401, 410)
    assert client.get("/account/email/").status_code == 302


def test_a_reset_password_ends_every_session(user: User) -> None:
    mine, app = logged_in(user), app_of(user)
    visitor = Client()
    form = visitor.get(re.sub(r"^https?://[^/]+", "", reset_link(User.objects.get())))["Location"]
    visitor.post(form, {"password1": NEW, "password2": NEW})
    assert mine.get("/account/email/").status_code == 302
    assert app.call("GET", "auth/session").status_code in (401, 410)
    assert not is_logged_in(visitor)


def test_who_takes_over_a_session_does_not_change_the_address_with_it(user: User) -> None:
    stolen, app = logged_in(user), app_of(user)
    asked = post(stolen, "account_email", action_add="", email="eve@example.org")
    assert asked["Location"].startswith("/account/reauthenticate/")
    assert app.post("account/email", email="eve@example.org").status_code == 401
    assert not AccountMail.objects.filter(to_address="eve@example.org").exists()
    # The owner types the password, and the address that was asked for is not lost.
    assert stolen.post(asked["Location"], {"password": cast.PASSWORD}).status_code == 302
    assert AccountMail.objects.filter(to_address="eve@example.org").count() == 1


def test_sessions_are_listed_and_ended_one_by_one(user: User) -> None:
    app, client = app_of(user), logged_in(user)
    listed = app.call("GET", "auth/sessions").json()["data"]
    assert [one["is_current"] for one in sorted(listed, key=lambda one: one["id"])] == [True, False]
    other = next(one["id"] for one in listed if not one["is_current"])
    assert app.call("DELETE", "auth/sessions", {"sessions": [other]}).status_code == 200
    assert client.get("/account/email/").status_code == 302


def test_nobody_ends_the_sessions_of_others(user: User) -> None:
    other = logged_in(cast.make_user("other@example.org"))
    app = app_of(user)
    foreign = list(range(1, 50))
    app.call("DELETE", "auth/sessions", {"sessions": foreign})
    assert other.get("/account/email/").status_code == 200


def test_who_is_made_inactive_is_out_at_once(user: User) -> None:
    client, app = logged_in(user), app_of(user)
    User.objects.update(is_active=False)
    assert client.get("/account/email/").status_code == 302
    assert app.call("GET", "auth/session").status_code in (401, 410)


def test_t24_no_session_token_is_taken_from_an_address(user: User) -> None:
    token = app_of(user).token
    stranger = Client()
    for name in ("session_token", "X-Session-Token", "courant-session"):
        assert stranger.get(f"/account/api/app/v1/auth/session?{name}={token}").status_code == 401


def test_t24_no_page_of_the_admin_shows_a_session_token() -> None:
    root = User.objects.create_superuser("root@example.org", cast.PASSWORD)
    client = logged_in(root)
    page = client.get("/admin/").content.decode()
    for app in ("usersessions", "mfa", "account/", "sessions"):
        assert f"/admin/{app}" not in page


def pages() -> list[str]:
    """Return the address of every page of accounts."""
    found: list[str] = []

    def walk(resolver: URLResolver, before: str) -> None:
        for pattern in resolver.url_patterns:
            address = before + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                walk(pattern, address)
            elif isinstance(pattern, URLPattern):
                found.append(re.sub(r"\(\?P<key>[^)]*\)|\(\?P<uidb36>[^)]*\)|<int:pk>", "1", address))

    walk(get_resolver(), "")
    wanted = [re.sub(r"[\^$]", "", one) for one in found]
    return sorted(f"/{one}" for one in wanted if one.startswith("account/") and not one.startswith("account/api/"))


@pytest.mark.parametrize("page", pages())
def test_t25_no_form_is_taken_without_its_csrf_token(user: User, page: str) -> None:
    stranger = Client(enforce_csrf_checks=True)
    assert stranger.post(page).status_code == 403
    somebody = Client(enforce_csrf_checks=True)
    somebody.force_login(user)
    assert somebody.post(page).status_code == 403
    elsewhere = {"Origin": "https://evil.example"}
    assert Client(enforce_csrf_checks=True).post(page, headers=elsewhere).status_code == 403


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "text/json"])
def test_t25_json_of_another_type_is_refused(user: User, content_type: str) -> None:
    body = f'{{"email": "{user.email}", "password": "{cast.PASSWORD}"}}'
    answer = Client().generic("POST", "/account/api/app/v1/auth/login", body, content_type)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (415, "unsupported_media_type")


def test_t25_the_api_takes_no_cookie_for_who_one_is(user: User) -> None:
    client = logged_in(user)
    for method, path in (("GET", "auth/session"), ("DELETE", "auth/session"), ("GET", "account/email")):
        assert client.generic(method, f"/account/api/app/v1/{path}").status_code == 401
    changed = {"current_password": cast.PASSWORD, "new_password": NEW}
    path = "/account/api/app/v1/account/password/change"
    assert client.post(path, changed, "application/json").status_code == 401
    assert client.get("/account/email/").status_code == 200


@pytest.mark.parametrize(
    "body", ["[]", "null", "1", '{"email": ["x"]}', '{"email": {"a": 1}, "password": 7}', "{", "\x00"]
)
@pytest.mark.parametrize("path", ["auth/login", "auth/signup", "auth/password/request", "auth/email/verify"])
def test_json_of_an_odd_shape_is_refused_without_an_error_of_ours(path: str, body: str, settings: Any) -> None:
    settings.SIGN_UP = "open"
    answer = Client().generic("POST", f"/account/api/app/v1/{path}", body, "application/json")
    assert answer.status_code in (400, 401)


def test_t25_cookies_are_bound_to_the_host_and_kept_from_scripts() -> None:
    script = (
        "import django; django.setup(); from django.conf import settings as s; from django.test import Client;"
        "answer = Client().get('/account/login/', secure=True, headers={'host': 'news.example.org'});"
        "print(answer.status_code, answer.cookies.output(header=''));"
        "print(s.SESSION_COOKIE_NAME, s.SESSION_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY, s.SESSION_COOKIE_SAMESITE,"
        "s.SESSION_COOKIE_DOMAIN, s.SESSION_COOKIE_PATH, s.DEVICE_COOKIE_NAME)"
    )
    # Without DEBUG the page would want collected static files.
    environment = clean_environment() | {"BASE_URL": "https://news.example.org", "ALLOWED_HOSTS": "news.example.org"}
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DEBUG": "1", "DATABASE_URL": "sqlite:////nowhere.db"}
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    printed = ended.stdout.splitlines()
    status, _, cookie = printed[-2].partition(" ")
    assert status == "200"
    assert cookie.strip().startswith("__Host-csrf=")
    assert {"HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert printed[-1] == "__Host-session True True Lax None / __Host-device"


@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "testserver@evil.example", "evil.example:80"]
)
def test_t20_a_foreign_host_is_refused(host: str) -> None:
    for page in ("/account/login/", "/account/api/app/v1/config", "/admin/login/"):
        assert Client(headers={"Host": host}).get(page).status_code == 400


def test_t20_a_forwarded_host_is_in_no_mail_and_no_redirect(user: User, settings: Any) -> None:
    client = Client(headers={"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"})
    answers = [post(client, "account_reset_password", email=user.email), log_in(client, user.email)]
    answers.append(client.get("/admin/"))
    assert all("evil" not in str(answer.headers) for answer in answers)
    assert "evil" not in str(list(AccountMail.objects.values()))
    settings.BASE_URL = "https://news.example.org"
    assert reset_link(user).startswith("https://news.example.org/account/")


def test_t20_no_code_of_ours_asks_the_request_for_the_sites_address() -> None:
    for package in ("accounts", "config", "core", "newsletters"):
        for file in (ROOT / package).rglob("*.py"):
            code = file.read_text()
            assert "build_absolute_uri" not in code, file
            assert "get_current_site" not in code, file
