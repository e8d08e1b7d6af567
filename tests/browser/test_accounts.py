"""The life of an account in a browser, from the first page to a forgotten password, with and without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.browser.acts import log_in, log_out, sign_up
from tests.browser.visitor import Visitor
from tests.cast import PASSWORD

NEW_PASSWORD = "another long pass phrase"


def set_up_app(visitor: Visitor) -> tuple[str, list[str]]:
    """Set up an authenticator app; returns its key and the recovery codes."""
    visitor.open("/account/2fa/")
    visitor.look("second-factors")
    visitor.follow("Set it up")
    if visitor.heading() == "Is it still you?":
        visitor.look("still-you")
        visitor.fill(password=PASSWORD)
        visitor.press("Go on")
    visitor.look("authenticator-app")
    key = visitor.page.locator("pre.secret").inner_text()
    visitor.fill(code="000000")
    visitor.press("Set it up")
    visitor.look("authenticator-app-wrong")
    # A wrong code keeps the key: it is in the app already.
    assert visitor.page.locator("pre.secret").inner_text() == key
    visitor.enter_code(key, "Set it up")
    assert visitor.heading() == "Recovery codes"
    visitor.look("recovery-codes")
    visitor.page.emulate_media(media="print", color_scheme="dark")
    panel = visitor.page.locator(".panel")
    assert panel.evaluate("it => getComputedStyle(it).backgroundColor") == "rgba(0, 0, 0, 0)"
    visitor.page.emulate_media(media="screen")
    return key, visitor.page.locator(".codes code").all_inner_texts()


@pytest.mark.parametrize("scripts", [True, False], ids=["with_scripts", "without_scripts"])
def test_an_account_from_its_first_day_to_a_forgotten_password(visit: Callable[..., Visitor], scripts: bool) -> None:
    visitor = visit(scripts=scripts)
    address = f"zoe-{'with' if scripts else 'without'}@gazette.example"
    visitor.open("/account/")
    assert visitor.heading() == "Log in"
    visitor.look("log-in")
    sign_up(visitor, address)
    log_in(visitor, address, "not the pass phrase")
    assert visitor.page.get_by_role("alert").is_visible()
    visitor.look("log-in-wrong")
    log_in(visitor, address)
    key, codes = set_up_app(visitor)
    assert len(codes) == 10
    with visitor.page.expect_download() as download:
        visitor.follow("Download")
    assert download.value.path().read_text().split() == codes
    log_out(visitor)

    log_in(visitor, address)
    assert visitor.heading() == "Second factor"
    visitor.look("second-factor")
    visitor.fill(code="000000")
    visitor.press("Log in")
    visitor.look("second-factor-wrong")
    visitor.enter_code(key, "Log in")
    look_around(visitor)
    log_out(visitor)

    visitor.open("/account/login/")
    visitor.follow("Forgot your password?")
    visitor.look("reset")
    visitor.fill(email=address)
    visitor.press("Send the link")
    visitor.look("reset-check-your-mail")
    link = visitor.link_in_mail(address, "reset/key/")
    visitor.open(link)
    assert re.search(r"/account/password/reset/key/\w+-set-password/$", visitor.page.url)
    visitor.look("reset-choose")
    visitor.fill(password1=NEW_PASSWORD)
    if visitor.page.locator('[name="password2"]').count():
        visitor.fill(password2=NEW_PASSWORD)
    visitor.press("Set this password")
    visitor.open(link)
    assert visitor.heading() == "This link does not work"
    visitor.look("reset-dead-link")

    log_in(visitor, address, NEW_PASSWORD)
    visitor.fill(code=codes[0])
    visitor.press("Log in")
    visitor.open("/account/2fa/")
    assert "9 left" in visitor.text()


def look_around(visitor: Visitor) -> None:
    """Look at every page of an account that has an authenticator app."""
    for path, name in {
        "/account/": "overview",
        "/account/profile/": "name",
        "/account/email/": "address",
        "/account/password/change/": "password",
        "/account/2fa/": "second-factors-on",
        "/account/2fa/recovery-codes/": "recovery-codes-again",
        "/account/sessions/": "sessions",
        "/account/logout/": "log-out",
        "/no/such/page": "no-such-page",
    }.items():
        visitor.open(path)
        visitor.look(name)
    visitor.open("/account/profile/")
    visitor.fill(name="Zoe Z.")
    visitor.press("Save")
    visitor.look("overview-after-a-change")
    assert "Zoe Z." in visitor.text()
    visitor.open("/account/email/")
    visitor.fill(email="other@gazette.example")
    visitor.press("Send the link")
    if visitor.heading() == "Is it still you?":
        visitor.fill(password=PASSWORD)
        visitor.press("Go on")
    visitor.look("address-changing")
    visitor.press("Give up this change")
    visitor.look("address-given-up")


def test_a_passkey_is_missed_is_added_and_logs_in_alone(visit: Callable[..., Visitor]) -> None:
    visitor = visit()
    device = visitor.virtual_authenticator()
    visitor.open("/account/login/")
    visitor.press("Log in with a passkey")
    visitor.page.get_by_role("alert").wait_for()
    assert "No passkey was used" in visitor.text()
    visitor.look("log-in-no-passkey")

    address = "passkey@gazette.example"
    sign_up(visitor, address)
    log_in(visitor, address)
    visitor.open("/account/2fa/webauthn/add/")
    visitor.fill(password=PASSWORD)
    visitor.press("Go on")
    visitor.look("passkey-add")
    visitor.fill(name="Laptop")
    visitor.page.locator('[name="passwordless"]').check()
    visitor.press("Add a passkey")
    visitor.page.wait_for_url("**/recovery-codes/")
    visitor.open("/account/2fa/webauthn/")
    visitor.look("passkeys")
    assert "Logs in alone" in visitor.text()
    visitor.follow("Rename Laptop")
    visitor.look("passkey-rename")
    visitor.fill(name="Old laptop")
    visitor.press("Save")
    log_out(visitor)

    visitor.open("/account/login/")
    visitor.press("Log in with a passkey")
    visitor.page.wait_for_url(lambda url: "/account/login/" not in url)
    visitor.open("/account/")
    assert visitor.heading() == "Your account"
    log_out(visitor)

    log_in(visitor, address)
    visitor.look("second-factor-passkey")
    visitor.press("Use a passkey")
    visitor.page.wait_for_url(lambda url: "authenticate" not in url)
    visitor.open("/account/2fa/webauthn/")
    visitor.follow("Remove Old laptop")
    visitor.look("still-you-passkey")
    visitor.follow("Use a passkey")
    visitor.press("Use a passkey")
    visitor.page.wait_for_url("**/remove/")
    visitor.look("passkey-remove")
    visitor.press("Remove it")
    assert "You have none." in visitor.text()
    device.detach()
