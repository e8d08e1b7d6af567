"""Every act that concerns an account's security is on record, on pages and in JSON alike."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.mfa.models import Authenticator
from django.test import Client
from django.urls import reverse

from accounts.audit import record
from accounts.doors import trail
from accounts.links import reset_link
from accounts.models import AccountMail, AuditEntry, User
from tests import cast
from tests.accounts.doors import ZOE, App, code_of, is_logged_in, log_in, make_totp, post, sign_up
from tests.admin.desks import sit_down

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_sign_up")]
NEW = "another long pass phrase"


def trail_of(user: User | None = None) -> list[str]:
    rows = AuditEntry.objects.order_by("pk")
    return [row.action for row in (rows.filter(object_id=str(user.pk)) if user else rows)]


def logged_in(user: User) -> Client:
    client = Client(headers={"User-Agent": "Lynx"})
    log_in(client, user.email)
    assert is_logged_in(client)
    return client


def test_sign_up_verification_and_log_in_are_on_record() -> None:
    client = Client()
    sign_up(client)
    user = User.objects.get()
    key = EmailConfirmationHMAC(EmailAddress.objects.get()).key
    client.post(reverse("account_confirm_email", args=[key]))
    log_in(client)
    post(client, "account_logout")
    assert trail_of(user) == ["user.signed_up", "address.verified", "session.started", "session.ended"]
    entry = AuditEntry.objects.get(action="session.started")
    assert (entry.publisher_id, entry.actor, entry.actor_kind, entry.ip_address, entry.detail) == (
        None,
        ZOE,
        "user",
        "127.0.0.1",
        {"means": ["password"]},
    )


def test_programs_leave_the_same_trail() -> None:
    app = App()
    app.post("auth/signup", email=ZOE, password=cast.PASSWORD)
    user = User.objects.get()
    app.post("auth/email/verify", key=EmailConfirmationHMAC(EmailAddress.objects.get()).key)
    app.post("auth/login", email=ZOE, password=cast.PASSWORD)
    app.call("DELETE", "auth/session")
    assert trail_of(user) == ["user.signed_up", "address.verified", "session.started", "session.ended"]


def test_a_wrong_password_is_on_record_without_it() -> None:
    user = cast.make_user()
    log_in(Client(), user.email, "a wrong pass phrase")
    App().post("auth/login", email=user.email, password="a wrong pass phrase")
    for entry in AuditEntry.objects.all():
        assert (entry.action, entry.actor, entry.object_id) == ("session.refused", user.email, str(user.pk))
        assert entry.detail == {"means": ["password"]}
    assert AuditEntry.objects.count() == 2


def test_wrong_answers_within_a_session_are_on_record_as_such() -> None:
    user = cast.make_user()
    make_totp(user)
    client, app = sit_down(user), App()
    app.token = client.session.session_key or ""
    post(client, "account_reauthenticate", password="a wrong pass phrase")
    app.post("auth/reauthenticate", password="a wrong pass phrase")
    post(client, "mfa_reauthenticate", code="000000")
    post(client, "account_change_password", oldpassword="a wrong pass phrase", password1=NEW, password2=NEW)
    app.post("account/password/change", current_password="a wrong pass phrase", new_password=NEW)
    found = AuditEntry.objects.order_by("pk").values_list("action", "object_id", "detail")
    by_password = ("session.refused", str(user.pk), {"means": ["password"], "again": True})
    by_code = ("session.refused", str(user.pk), {"means": ["totp"], "again": True})
    assert list(found) == [by_password, by_password, by_code, by_password, by_password]


def test_what_strangers_type_is_not_kept_for_ever() -> None:
    log_in(Client(), "nobody@example.org", "a wrong pass phrase")
    assert trail_of() == []


def test_guesses_beyond_the_limit_leave_no_more_lines() -> None:
    cast.make_user()
    for _ in range(9):
        log_in(Client(), cast.EDITOR, "a wrong pass phrase")
    assert trail_of() == ["session.refused"] * 5


def test_changing_and_resetting_a_password_is_on_record_and_told() -> None:
    user = cast.make_user()
    client = logged_in(user)
    post(client, "account_change_password", oldpassword=cast.PASSWORD, password1=NEW, password2=NEW)
    path = re.sub(r"^https?://[^/]+", "", reset_link(User.objects.get()))
    visitor = Client()
    form = visitor.get(path)["Location"]
    visitor.post(form, {"password1": cast.PASSWORD, "password2": cast.PASSWORD})
    assert trail_of(user) == ["session.started", "password.changed", "password.reset"]
    assert [mail.detail["event"] for mail in AccountMail.objects.order_by("pk")] == [
        "password_changed",
        "password_reset",
    ]


def test_second_factors_are_on_record_and_told() -> None:
    user = cast.make_user()
    client = logged_in(user)
    post(client, "account_reauthenticate", password=cast.PASSWORD)
    client.get(reverse("mfa_activate_totp"))
    post(client, "mfa_activate_totp", code=code_of(client.session["mfa.totp.secret"]))
    post(client, "mfa_generate_recovery_codes")
    codes = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()
    other = Client()
    log_in(other, user.email)
    post(other, "mfa_authenticate", code=codes[0])
    assert is_logged_in(other)
    post(client, "mfa_deactivate_totp")
    assert trail_of(user) == [
        "session.started",
        "second_factor.app_added",
        "second_factor.codes_made",
        "session.started",
        "session.from_new_device",
        "second_factor.app_removed",
    ]
    entries = AuditEntry.objects.filter(action="session.started").order_by("pk")
    assert entries[1].detail == {"means": ["password", "recovery_codes"]}
    assert AccountMail.objects.count() == 4


def test_a_changed_address_is_on_record_and_told_to_the_old_one() -> None:
    user = cast.make_user()
    client = logged_in(user)
    post(client, "account_reauthenticate", password=cast.PASSWORD)
    client.post(reverse("account_email"), {"action_add": "", "email": ZOE})
    key = EmailConfirmationHMAC(EmailAddress.objects.get(verified=False)).key
    client.post(reverse("account_confirm_email", args=[key]))
    assert trail_of(user) == ["session.started", "address.changed", "address.verified"]
    assert AuditEntry.objects.order_by("pk")[1].detail == {"from_email": cast.EDITOR, "to_email": ZOE}
    assert AccountMail.objects.get(kind="security_notice").to_address == cast.EDITOR
    assert User.objects.get().email == ZOE


def test_sessions_that_are_ended_from_elsewhere_are_on_record() -> None:
    user = cast.make_user()
    mine, other = logged_in(user), logged_in(user)
    mine.post(reverse("usersessions_list"))
    assert trail_of(user)[-1] == "session.ended_elsewhere"
    assert AuditEntry.objects.order_by("pk").last().detail == {"ip": "127.0.0.1", "agent": "Lynx"}  # type: ignore[union-attr]  # there is one
    assert other.get("/account/email/").status_code == 302
    assert mine.get("/account/email/").status_code == 200


def test_nothing_happens_where_its_line_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    user = cast.make_user()
    client = logged_in(user)
    before = user.password

    def fail(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError("the entry cannot be stored")

    monkeypatch.setattr(trail, "record", fail)
    changed = {"oldpassword": cast.PASSWORD, "password1": NEW, "password2": NEW}
    with pytest.raises(RuntimeError):
        post(client, "account_change_password", **changed)
    with pytest.raises(RuntimeError):
        sign_up(Client())
    monkeypatch.setattr(trail, "record", record)
    assert User.objects.get().password == before


@pytest.mark.django_db(transaction=True)
def test_no_second_factor_is_there_without_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    user = cast.make_user()
    client = logged_in(user)
    post(client, "account_reauthenticate", password=cast.PASSWORD)
    client.get(reverse("mfa_activate_totp"))

    def fail(*_arguments: Any, **_named: Any) -> None:
        assert Authenticator.objects.exists()
        raise RuntimeError("the entry cannot be stored")

    monkeypatch.setattr(trail, "record", fail)
    with pytest.raises(RuntimeError):
        post(client, "mfa_activate_totp", code=code_of(client.session["mfa.totp.secret"]))
    assert not Authenticator.objects.exists()


def test_wrong_codes_are_on_record() -> None:
    user = cast.make_user()
    make_totp(user)
    client = Client()
    log_in(client, user.email)
    post(client, "mfa_authenticate", code="000000")
    app = App()
    app.post("auth/login", email=user.email, password=cast.PASSWORD)
    app.post("auth/2fa/authenticate", code="000000")
    rows = AuditEntry.objects.order_by("pk")
    assert [(row.action, row.detail) for row in rows] == [("session.refused", {"means": ["totp"]})] * 2


def test_no_secret_is_in_the_trail() -> None:
    user = cast.make_user()
    secret = make_totp(user)
    client = Client()
    log_in(client, user.email)
    code = code_of(secret)
    post(client, "mfa_authenticate", code=code)
    written = str(list(AuditEntry.objects.values()))
    for hidden in (secret, code, cast.PASSWORD, client.session.session_key or "no session"):
        assert hidden not in written
