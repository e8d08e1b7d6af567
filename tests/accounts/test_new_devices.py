from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.doors.devices import MOST_DEVICES, remember_device
from accounts.models import AccountMail, KnownDevice, User
from tests import cast
from tests.accounts.doors import App, log_in, post

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_counted")]
COOKIE = "courant-device"


@pytest.fixture
def user() -> User:
    return cast.make_user()


def told() -> list[dict[str, Any]]:
    return [mail.detail for mail in AccountMail.objects.order_by("pk")]


def test_the_first_log_in_of_all_is_told_to_nobody(user: User) -> None:
    log_in(Client(), user.email)
    assert told() == []


def test_a_browser_that_was_never_used_before_is_told_to_the_owner_once(user: User) -> None:
    log_in(Client(), user.email)
    other = Client(headers={"User-Agent": "Mallory's browser"}, REMOTE_ADDR="198.51.100.7")
    for _ in range(3):
        log_in(other, user.email)
        post(other, "account_logout")
    (detail,) = told()
    assert (detail["event"], detail["ip"], detail["user_agent"]) == ("new_device", "198.51.100.7", "Mallory's browser")


def test_a_browser_is_known_for_one_person_only(user: User) -> None:
    other = cast.make_user("other@example.org")
    log_in(Client(), other.email)
    shared = Client()
    log_in(shared, user.email)
    post(shared, "account_logout")
    log_in(shared, other.email)
    assert [mail.user for mail in AccountMail.objects.all()] == [other]


def test_a_cookie_that_somebody_made_up_is_a_new_device(user: User) -> None:
    log_in(Client(), user.email)
    for value in ("", "x", "y" * 5000):
        client = Client()
        client.cookies[COOKIE] = value
        log_in(client, user.email)
    assert len(told()) == 3


def test_a_program_is_known_by_its_name(user: User) -> None:
    for agent in ("curl", "curl", "python-httpx"):
        app = App()
        assert app.call("POST", "auth/login", {"email": user.email, "password": cast.PASSWORD}, **{"User-Agent": agent})
    assert [detail["user_agent"] for detail in told()] == ["python-httpx"]


def test_a_program_does_not_pass_for_a_browser(user: User) -> None:
    browser = Client()
    log_in(browser, user.email)
    app = App()
    app.call(
        "POST",
        "auth/login",
        {"email": user.email, "password": cast.PASSWORD},
        **{"User-Agent": browser.cookies[COOKIE].value},
    )
    assert len(told()) == 1


def test_the_cookie_is_kept_for_long_and_from_scripts_and_its_value_is_not_stored(user: User) -> None:
    client = Client()
    log_in(client, user.email)
    cookie = client.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"], cookie["path"]) == (True, "Lax", 34_560_000, "/")
    assert cookie.value.encode() not in bytes(KnownDevice.objects.get().digest)
    assert len(KnownDevice.objects.get().digest) == 32


def test_only_so_many_devices_are_remembered(user: User) -> None:
    for number in range(MOST_DEVICES + 3):
        assert remember_device(user, number.to_bytes(32, "big"))
    assert KnownDevice.objects.count() == MOST_DEVICES
    assert not remember_device(user, (MOST_DEVICES + 2).to_bytes(32, "big"))
