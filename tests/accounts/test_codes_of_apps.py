"""Codes of authenticator apps: each once, none before it afterwards, and clocks half a minute off."""

from __future__ import annotations

import functools

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from tests import cast
from tests.accounts.doors import App, code_of, is_logged_in, log_in, make_totp, post
from tests.admin.desks import sit_down
from tests.racing import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.dialects, pytest.mark.usefixtures("nothing_counted")]


@pytest.fixture
def user() -> User:
    return cast.make_user()


def try_code(user: User, code: str) -> bool:
    client = Client()
    log_in(client, user.email)
    assert not is_logged_in(client)
    post(client, "mfa_authenticate", code=code)
    cache.clear()
    return is_logged_in(client)


def test_a_code_works_once_whatever_is_forgotten(user: User) -> None:
    code = code_of(make_totp(user))
    assert try_code(user, code)
    assert not try_code(user, code)
    assert not try_code(user, f"{code[:3]} {code[3:]}")


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_clock_may_be_half_a_minute_off(user: User, steps: int) -> None:
    assert try_code(user, code_of(make_totp(user), steps=steps))


def test_a_code_before_one_that_was_used_does_not_work(user: User) -> None:
    secret = make_totp(user)
    assert try_code(user, code_of(secret))
    assert not try_code(user, code_of(secret, steps=-1))
    assert try_code(user, code_of(secret, steps=1))
    assert not try_code(user, code_of(secret))


def test_a_code_of_another_time_or_person_does_not_work(user: User) -> None:
    secret = make_totp(user)
    other = make_totp(cast.make_user("other@example.org"))
    for wrong in (code_of(secret, steps=-2), code_of(secret, steps=2), code_of(other)):
        assert not try_code(user, wrong)


def test_a_code_that_let_somebody_in_does_not_show_who_they_are_again(user: User) -> None:
    code = code_of(make_totp(user))
    assert try_code(user, code)
    inside, app = sit_down(user), App()
    app.token = inside.session.session_key or ""
    assert post(inside, "mfa_reauthenticate", code=code).status_code == 200
    assert app.post("auth/2fa/reauthenticate", code=code).status_code == 400


def test_a_new_app_begins_anew(user: User) -> None:
    assert try_code(user, code_of(make_totp(user)))
    Authenticator.objects.all().delete()
    assert try_code(user, code_of(make_totp(user)))


@pytest.mark.django_db(transaction=True)
def test_of_several_who_send_one_code_at_once_one_gets_in(user: User) -> None:
    secret = make_totp(user)
    browsers = [Client() for _ in range(4)]
    for browser in browsers:
        log_in(browser, user.email)
    cache.clear()

    def send(browser: Client) -> bool:
        post(browser, "mfa_authenticate", code=code_of(secret))
        return is_logged_in(browser)

    assert sorted(at_once(*[functools.partial(send, browser) for browser in browsers])) == [False, False, False, True]
