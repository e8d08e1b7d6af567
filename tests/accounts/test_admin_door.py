from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.test import Client

from accounts.models import AccountMail, AuditEntry, Role, User
from tests import cast
from tests.accounts.doors import App, code_of, is_logged_in, log_in, make_totp, post

pytestmark = pytest.mark.django_db
LOG_IN = "/account/login/?next=%2Fadmin%2F"


def make_staff(**fields: Any) -> User:
    return cast.make_user(publisher=cast.make_publisher(), role=Role.OWNER, is_staff=True, **fields)


@pytest.mark.parametrize(
    ("asked", "led_to"),
    [
        ("/admin/login/", LOG_IN),
        ("/admin/login/?next=/admin/newsletters/issue/", "/account/login/?next=%2Fadmin%2Fnewsletters%2Fissue%2F"),
        ("/admin/login/?next=//evil.example/", LOG_IN),
        ("/admin/login/?next=https://evil.example/", LOG_IN),
        ("/admin/login/?next=javascript:alert(1)", LOG_IN),
        ("/admin/login/?next=/%5Cevil.example", LOG_IN),
    ],
)
def test_t32_the_admin_asks_for_log_in_where_everybody_logs_in(asked: str, led_to: str) -> None:
    assert Client().get(asked)["Location"] == led_to
    assert Client().post(asked, {"username": cast.EDITOR, "password": cast.PASSWORD})["Location"] == led_to


def test_staff_come_back_to_the_admin_page_that_they_asked_for() -> None:
    make_staff()
    client = Client()
    page = client.get("/admin/newsletters/issue/", follow=True)
    assert page.redirect_chain[-1][0] == "/account/login/?next=%2Fadmin%2Fnewsletters%2Fissue%2F"
    answer = log_in(client, cast.EDITOR, next="/admin/newsletters/issue/")
    assert answer["Location"] == "/admin/newsletters/issue/"
    assert client.get("/admin/newsletters/issue/").status_code == 200


def test_the_log_in_page_leads_to_no_other_site() -> None:
    make_staff()
    for elsewhere in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        answer = log_in(Client(), cast.EDITOR, next=elsewhere)
        assert answer["Location"] == "/"


def test_who_is_not_staff_is_told_so() -> None:
    cast.make_user()
    client = Client()
    log_in(client, cast.EDITOR)
    assert client.get("/admin/", follow=True).status_code == 403


def test_t32_the_password_alone_does_not_open_the_admin_to_whom_has_a_second_factor() -> None:
    make_totp(make_staff())
    client = Client()
    log_in(client, cast.EDITOR)
    assert client.get("/admin/")["Location"] == "/admin/login/?next=/admin/"


def test_the_admin_ends_the_session_as_every_page_does() -> None:
    make_staff()
    client = Client()
    log_in(client, cast.EDITOR)
    assert client.get("/admin/logout/").status_code == 200
    assert is_logged_in(client)
    assert client.post("/admin/logout/")["Location"] == "/account/login/"
    assert not is_logged_in(client)


@pytest.mark.parametrize("page", ["/admin/password_change/", "/admin/password_change/done/"])
def test_the_admin_has_no_password_page_of_its_own(page: str) -> None:
    make_staff()
    client = Client()
    log_in(client, cast.EDITOR)
    assert client.get(page)["Location"] == "/account/password/change/"


def test_a_password_that_a_superuser_sets_is_told_to_its_owner_and_on_record() -> None:
    root, user = User.objects.create_superuser("root@example.org", cast.PASSWORD), cast.make_user()
    client = Client()
    client.force_login(root)
    passwords = {"usable_password": "true", "password1": "a pass phrase to try", "password2": "a pass phrase to try"}
    assert client.post(f"/admin/accounts/user/{user.pk}/password/", passwords).status_code == 302
    mail, entry = AccountMail.objects.get(), AuditEntry.objects.get()
    assert (mail.to_address, mail.detail["event"]) == (user.email, "password_set")
    assert (entry.action, entry.actor, entry.object_id) == ("password.set", "root@example.org", str(user.pk))
    own = client.get(f"/admin/accounts/user/{root.pk}/password/")
    assert own["Location"] == "/account/password/change/"


def test_what_a_superuser_changes_about_somebody_is_on_record_and_told_to_the_old_address() -> None:
    root, user = User.objects.create_superuser("root@example.org", cast.PASSWORD), cast.make_user(is_staff=True)
    client = Client()
    client.force_login(root)
    form = {"email": "new@gazette.example", "name": "", "is_active": "on", "is_superuser": "on"}
    form |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    assert client.post(f"/admin/accounts/user/{user.pk}/change/", form).status_code == 302
    mail, entry = AccountMail.objects.get(), AuditEntry.objects.get()
    assert (mail.to_address, mail.detail["event"]) == (cast.EDITOR, "email_changed")
    assert (entry.action, entry.actor, entry.object_id) == ("user.changed", "root@example.org", str(user.pk))
    assert entry.detail["changed"] == ["email", "is_staff", "is_superuser"]
    assert (entry.detail["is_superuser"], entry.detail["is_staff"], "is_active" in entry.detail) == (True, False, False)
    assert (entry.detail["was"], entry.detail["address"]) == (cast.EDITOR, "new@gazette.example")


@pytest.fixture(params=["staff", "everyone"])
def _required(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.REQUIRE_MFA = request.param


@pytest.mark.parametrize("page", ["/", "/admin/", "/admin/newsletters/issue/add/", "/account/email/x", "/nothing"])
@pytest.mark.usefixtures("_required")
def test_t32_who_must_have_a_second_factor_is_led_to_it_before_any_other_page(page: str) -> None:
    user = make_staff()
    client = Client()
    log_in(client, cast.EDITOR)
    assert client.get(page)["Location"] == "/account/2fa/"
    assert client.post(page)["Location"] == "/account/2fa/"
    assert client.get("/account/2fa/").status_code == 200
    assert client.get("/account/logout/").status_code == 200
    RecoveryCodes.activate(user)
    assert client.get(page)["Location"] == "/account/2fa/"
    make_totp(user)
    assert client.get("/admin/").status_code == 200


@pytest.mark.usefixtures("_required")
def test_t32_the_page_that_was_asked_for_first_is_offered_once_there_is_a_second_factor() -> None:
    user, wanted = make_staff(), "/admin/newsletters/issue/?q=a+b"
    client = Client()
    log_in(client, cast.EDITOR)
    # Every log-in leads to the start page; what a browser asks for by itself is no page.
    for page in ("/", "/favicon.ico", wanted, "/account/profile/"):
        assert client.get(page).status_code == 302
    link = f'href="{wanted}"'.encode()
    assert link not in client.get("/account/2fa/").content
    post(client, "account_reauthenticate", password=cast.PASSWORD)
    client.get("/account/2fa/totp/activate/")
    answer = post(client, "mfa_activate_totp", code=code_of(client.session["mfa.totp.secret"]))
    assert Authenticator.objects.filter(user=user, type="totp").exists()
    assert link in client.get(answer["Location"]).content
    assert link in client.get("/account/2fa/").content
    assert client.get(wanted).status_code == 200
    assert link not in client.get("/account/2fa/").content


@pytest.mark.usefixtures("_required")
def test_a_program_without_a_second_factor_is_told_what_is_missing() -> None:
    user = make_staff()
    app = App()
    app.post("auth/login", email=user.email, password=cast.PASSWORD)
    refused = app.call("GET", "auth/sessions")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (403, "second_factor_required")
    assert app.call("GET", "account/authenticators").status_code == 200
    assert app.call("GET", "auth/session").status_code == 200
    make_totp(user)
    assert app.call("GET", "auth/sessions").status_code == 200


def test_where_only_staff_need_a_second_factor_others_go_on(settings: Any) -> None:
    settings.REQUIRE_MFA = "staff"
    cast.make_user()
    client = Client()
    log_in(client, cast.EDITOR)
    assert client.get("/account/email/").status_code == 200


@pytest.mark.usefixtures("_required")
def test_a_reader_who_is_staff_leaves_without_a_second_factor() -> None:
    client = Client()
    client.force_login(make_staff())
    assert client.get("/u/x").status_code == 404


@pytest.mark.usefixtures("_required")
def test_nobody_takes_off_the_only_second_factor_that_they_must_have(settings: Any) -> None:
    user = make_staff()
    client = Client()
    log_in(client, cast.EDITOR)
    make_totp(user)
    settings.MFA_REAUTHENTICATION_REQUIRED = False
    post(client, "mfa_deactivate_totp")
    assert Authenticator.objects.filter(user=user, type="totp").exists()
    settings.REQUIRE_MFA = "nobody"
    post(client, "mfa_deactivate_totp")
    assert not Authenticator.objects.filter(user=user, type="totp").exists()
