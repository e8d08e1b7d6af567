"""Every page below /account/: who sees it, that it is a whole page, and what caches and scripts may do with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from tests import cast
from tests.accounts.doors import log_in, post
from tests.accounts.passkeys import add_passkey
from tests.web.page_reader import check

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_doors")]
ADDRESS = cast.EDITOR


def protect(user: User) -> None:
    TOTP.activate(user, generate_totp_secret())
    RecoveryCodes.activate(user)


def confirmation(user: User) -> str:
    pending = EmailAddress.objects.create(user=user, email="new@gazette.example")
    return reverse("account_confirm_email", args=[EmailConfirmationHMAC(pending).key])


def reset_link(user: User) -> str:
    token = default_token_generator.make_token(user)
    return reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), token])


def names(patterns: list[URLPattern | URLResolver]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from names(pattern.url_patterns)
        else:
            yield pattern.name or "?"


def below_account() -> set[str]:
    found: set[str] = set()
    for pattern in get_resolver().url_patterns:
        path = str(pattern.pattern)
        if path.startswith("account/") and not path.startswith("account/api/"):
            found |= set(names([pattern]))
    return found


# Pages for anybody.
OUTSIDE = {
    "account_login": "Log in",
    "account_inactive": "This account is switched off",
    "account_signup": "Sign up",
    "account_email_verification_sent": "Check your mail",
    "account_reset_password": "Reset your password",
    "account_reset_password_done": "Check your mail",
    "account_reset_password_from_key_done": "Your password is changed",
}
# Pages for who is logged in, without anything more.
INSIDE = {
    "account_overview": "Your account",
    "account_profile": "Your name",
    "account_logout": "Log out?",
    "account_reauthenticate": "Is it still you?",
    "account_email": "E-mail address",
    "account_change_password": "Change your password",
    "mfa_index": "Second factors",
    "mfa_activate_totp": "Set up an authenticator app",
    "mfa_list_webauthn": "Passkeys",
    "mfa_add_webauthn": "Add a passkey",
    "usersessions_list": "Sessions",
}
# Pages for who is logged in and has an authenticator app and recovery codes.
PROTECTED = {
    "mfa_reauthenticate": "Is it still you?",
    "mfa_deactivate_totp": "Switch off the authenticator app?",
    "mfa_view_recovery_codes": "Recovery codes",
    "mfa_generate_recovery_codes": "Make new recovery codes?",
}
# Pages of one passkey.
PASSKEY = {
    "mfa_reauthenticate_webauthn": "Is it still you?",
    "mfa_remove_webauthn": "Remove “Laptop”?",
    "mfa_edit_webauthn": "Rename a passkey",
}
# Each of these has a test of its own below, or is no page.
OTHERS = {
    "account_set_password",
    "account_confirm_email",
    "account_reset_password_from_key",
    "account_confirm_login_code",
    "mfa_authenticate",
    "mfa_download_recovery_codes",
    "mfa_login_webauthn",
    "session_end",
}


def test_every_page_below_account_is_looked_at_here() -> None:
    assert below_account() == {*OUTSIDE, *INSIDE, *PROTECTED, *PASSKEY, *OTHERS}


@pytest.mark.parametrize("name", OUTSIDE)
def test_pages_for_anybody(name: str) -> None:
    assert check(Client().get(reverse(name))).headings == [OUTSIDE[name]]


@pytest.mark.parametrize("name", INSIDE)
def test_pages_for_who_is_logged_in(inside: Client, name: str) -> None:
    assert check(inside.get(reverse(name))).headings == [INSIDE[name]]


@pytest.mark.parametrize("name", PROTECTED)
def test_pages_for_who_has_a_second_factor(inside: Client, person: User, name: str) -> None:
    protect(person)
    assert check(inside.get(reverse(name))).headings == [PROTECTED[name]]


@pytest.mark.parametrize("name", PASSKEY)
def test_pages_of_a_passkey(inside: Client, person: User, name: str) -> None:
    passkey = add_passkey(person)
    path = reverse(name, args=[] if name == "mfa_reauthenticate_webauthn" else [passkey.pk])
    assert check(inside.get(path)).headings == [PASSKEY[name]]


@pytest.mark.parametrize("name", [*INSIDE, *PROTECTED, "mfa_reauthenticate_webauthn", "account_set_password"])
def test_nobody_else_sees_them(name: str) -> None:
    response = Client().get(reverse(name))
    assert response.status_code == 302
    assert "no-store" in response["Cache-Control"]


def test_the_overview_says_what_there_is(inside: Client, person: User) -> None:
    before = inside.get(reverse("account_overview")).content.decode()
    assert "Whoever knows your password can log in as you" in before
    protect(person)
    add_passkey(person)
    after = check(inside.get(reverse("account_overview")))
    assert after.title == "Your account · Courant"
    text = inside.get(reverse("account_overview")).content.decode()
    assert "An authenticator app and passkeys, with recovery codes." in text


def test_a_name_is_changed_and_a_line_break_in_it_is_refused(inside: Client, person: User) -> None:
    assert post(inside, "account_profile", name="Ada Lovelace").status_code == 302
    person.refresh_from_db()
    assert person.name == "Ada Lovelace"
    page = check(post(inside, "account_profile", name="Ada\x0bBcc: eve@example.org"))
    assert [entry["aria-invalid"] for entry in page.fields] == ["true"]
    assert "id_name_error" in page.fields[0]["aria-describedby"]
    person.refresh_from_db()
    assert person.name == "Ada Lovelace"


def test_who_has_no_password_sets_one(inside: Client, person: User) -> None:
    person.set_unusable_password()
    person.save()
    inside.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert check(inside.get(reverse("account_set_password"))).headings == ["Set a password"]


@pytest.mark.parametrize(
    ("mode", "heading"), [("invitation", "Sign-up is by invitation"), ("closed", "Sign-up is closed")]
)
def test_sign_up_says_why_it_is_not_open(settings: Settings, mode: str, heading: str) -> None:
    settings.SIGN_UP = mode
    assert check(Client().get(reverse("account_signup"))).headings == [heading]
    assert reverse("account_signup") not in check(Client().get(reverse("account_login"))).addresses


def test_opening_the_link_that_verifies_an_address_changes_nothing(person: User) -> None:
    path = confirmation(person)
    browser = Client()
    for _ in range(3):
        assert check(browser.get(path)).headings == ["Verify your address"]
    assert not EmailAddress.objects.get(email="new@gazette.example").verified
    assert browser.post(path).status_code == 302
    assert EmailAddress.objects.get(email="new@gazette.example").verified
    dead = reverse("account_confirm_email", args=["no-such-key"])
    assert check(browser.get(dead)).headings == ["This link does not work"]


def test_the_link_of_a_reset_leads_to_an_address_without_the_secret(person: User) -> None:
    browser = Client()
    path = reset_link(person)
    opened = browser.get(path)
    assert opened.status_code == 302
    assert "no-store" in opened["Cache-Control"]
    assert check(browser.get(opened["Location"])).headings == ["Choose a new password"]
    assert browser.post(opened["Location"], {"password1": "short", "password2": "short"}).status_code == 200
    good = {"password1": "another long pass phrase", "password2": "another long pass phrase"}
    assert browser.post(opened["Location"], good).status_code == 302
    assert check(Client().get(path)).headings == ["This link does not work"]


def test_the_second_factor_is_asked_for_after_the_password(person: User) -> None:
    protect(person)
    browser = Client()
    asked = log_in(browser, ADDRESS)
    assert asked["Location"].startswith(reverse("mfa_authenticate"))
    page = check(browser.get(asked["Location"]))
    assert page.headings == ["Second factor"]
    assert "js_data" not in page.ids
    add_passkey(person)
    wrong = check(post(browser, "mfa_authenticate", code="000000"))
    assert "js_data" in wrong.ids
    assert "true" in [entry.get("aria-invalid") for entry in wrong.fields]


def test_recovery_codes_can_be_downloaded(inside: Client, person: User) -> None:
    protect(person)
    response = inside.get(reverse("mfa_download_recovery_codes"))
    assert response["Content-Type"].startswith("text/plain")
    assert response["Content-Disposition"] == 'attachment; filename="recovery-codes.txt"'
    assert "no-store" in response["Cache-Control"]
    assert len(response.content.split()) == 10


def test_a_changed_address_waits_for_its_link(inside: Client, person: User) -> None:
    post(inside, "account_email", email="new@gazette.example", action_add="")
    page = check(inside.get(reverse("account_email")))
    assert "pending" in page.ids
    person.refresh_from_db()
    assert person.email == ADDRESS


def test_fields_are_called_alike_on_all_pages(inside: Client) -> None:
    shown = [Client().get(reverse(name)) for name in ("account_login", "account_signup", "account_reset_password")]
    shown += [inside.get(reverse(name)) for name in ("account_email", "account_change_password")]
    labels = {one for page in shown for one in re.findall(r"<label[^>]*>([^<]+)<?", page.content.decode())}
    assert {one.strip() for one in labels} >= {"E-mail address", "Password", "Current password", "New password"}
    for one in labels:
        # Words within a label are not capital, and "e-mail" has its hyphen.
        assert "Email" not in one
        assert one[1:] == one[1:].lower()
