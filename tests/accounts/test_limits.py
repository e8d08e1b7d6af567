"""T19: how often one may try, whatever headers say and however many try at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from accounts.hashers import Argon2Hasher
from accounts.models import AccountMail, User
from tests import cast
from tests.accounts.doors import ZOE, App, code_of, forget_limits, is_logged_in, log_in, make_totp, post, sign_up

pytestmark = pytest.mark.django_db
WRONG = "a wrong pass phrase"


@pytest.fixture(autouse=True)
def _nothing_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # How often, not how hard, is the question here.
    monkeypatch.setattr(Argon2Hasher, "memory_cost", 64)
    forget_limits()
    yield
    forget_limits()


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were compared with somebody's."""
    passwords: list[str] = []
    verify = Argon2Hasher.verify

    def counted(self: Argon2Hasher, password: str, encoded: str) -> bool:
        passwords.append(password)
        return bool(verify(self, password, encoded))

    monkeypatch.setattr(Argon2Hasher, "verify", counted)
    return passwords


def guess(number: int, **headers: Any) -> Any:
    """Guess the editor's password from an address of its own, unless `headers` say otherwise."""
    where = {"REMOTE_ADDR": f"198.51.100.{number % 250 + 1}"} | headers
    return Client(**where).post("/account/login/", {"login": cast.EDITOR, "password": f"{WRONG} {number}"})


def test_t19_five_wrong_passwords_a_minute_are_tried_for_an_account(tried: list[str]) -> None:
    cast.make_user()
    for number in range(10):
        assert b"password1" not in guess(number).content
    assert len(tried) == 5
    client = Client()
    log_in(client, cast.EDITOR)
    assert not is_logged_in(client)
    assert App().post("auth/login", email=cast.EDITOR, password=cast.PASSWORD).status_code == 400
    assert len(tried) == 5


@pytest.mark.parametrize(
    "headers",
    [
        lambda number: {"HTTP_HOST": f"localhost:{8000 + number}"},
        lambda number: {"HTTP_X_FORWARDED_FOR": f"203.0.113.{number}"},
        lambda number: {"HTTP_X_FORWARDED_HOST": f"host-{number}.example"},
        lambda number: {"HTTP_USER_AGENT": f"agent {number}"},
    ],
    ids=["port", "forwarded-for", "forwarded-host", "user-agent"],
)
def test_t19_no_header_gives_more_guesses(
    tried: list[str], settings: Any, headers: Callable[[int], dict[str, str]]
) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "testserver"]
    cast.make_user()
    for number in range(12):
        guess(number, REMOTE_ADDR="198.51.100.1", **headers(number))
    assert len(tried) == 5


def test_t19_an_address_may_log_in_twenty_times_a_minute_and_is_told_when_to_come_back() -> None:
    answers = [log_in(Client(), f"reader-{number}@example.org", WRONG) for number in range(22)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 2
    assert 50 <= int(answers[-1]["Retry-After"]) <= 60
    assert b"<main" in answers[-1].content
    in_json = App().post("auth/login", email=ZOE, password=WRONG)
    assert (in_json.status_code, in_json.json()["status"]) == (429, 429)
    assert 50 <= int(in_json["Retry-After"]) <= 60


def test_t19_a_forged_header_does_not_move_a_client_to_another_address(settings: Any) -> None:
    for number in range(20):
        log_in(Client(HTTP_X_FORWARDED_FOR=f"203.0.113.{number}"), f"reader-{number}@example.org", WRONG)
    assert log_in(Client(HTTP_X_FORWARDED_FOR="203.0.113.99"), ZOE, WRONG).status_code == 429
    settings.TRUSTED_PROXY_COUNT = 1
    assert log_in(Client(HTTP_X_FORWARDED_FOR="10.0.0.1, 203.0.113.99"), ZOE, WRONG).status_code == 200


def test_t19_clients_whose_address_is_not_known_share_a_limit_and_are_let_in(settings: Any) -> None:
    settings.TRUSTED_PROXY_COUNT = 2
    cast.make_user()
    client = Client(HTTP_X_FORWARDED_FOR="203.0.113.9")
    log_in(client, cast.EDITOR)
    assert is_logged_in(client)
    assert App().call("GET", "auth/session", **{"X-Session-Token": client.session.session_key or ""}).status_code == 200
    answers = [log_in(Client(), f"reader-{number}@example.org", WRONG).status_code for number in range(20)]
    assert answers[-1] == 429


def test_t19_networks_of_ipv6_count_as_one_address() -> None:
    for number in range(20):
        log_in(Client(REMOTE_ADDR=f"2001:db8::{number:x}"), f"reader-{number}@example.org", WRONG)
    assert log_in(Client(REMOTE_ADDR="2001:db8::ffff"), ZOE, WRONG).status_code == 429
    assert log_in(Client(REMOTE_ADDR="2001:db8:0:1::1"), ZOE, WRONG).status_code == 200


def test_t19_right_log_ins_use_up_no_guesses() -> None:
    cast.make_user()
    for _ in range(8):
        client = Client()
        log_in(client, cast.EDITOR)
        assert is_logged_in(client)


def test_t19_counts_are_not_pushed_out_by_other_counts(tried: list[str]) -> None:
    cast.make_user()
    for number in range(5):
        guess(number)
    for number in range(400):
        cache.set(f"other-{number}", [], 600)
    guess(6)
    assert len(tried) == 5


def test_t19_sign_ups_and_resets_are_limited_by_address(settings: Any) -> None:
    settings.SIGN_UP = "open"
    signed_up = [sign_up(Client(), f"reader-{number}@example.org", password1="short") for number in range(21)]
    assert [answer.status_code for answer in signed_up] == [200] * 20 + [429]
    asked = [post(Client(), "account_reset_password", email=f"reader-{n}@example.org") for n in range(21)]
    assert [answer.status_code for answer in asked] == [302] * 20 + [429]


def test_t19_an_inbox_gets_three_reset_mails_in_ten_minutes() -> None:
    cast.make_user(ZOE)
    answers = [
        Client(REMOTE_ADDR=f"198.51.100.{number}").post("/account/password/reset/", {"email": address})
        for number, address in enumerate((ZOE, ZOE.upper(), ZOE, ZOE))
    ]
    assert [answer.status_code for answer in answers] == [302, 302, 302, 429]
    # One that waits is enough.
    assert AccountMail.objects.count() == 1


def test_t19_an_inbox_gets_one_mail_about_its_sign_up_in_three_minutes(settings: Any) -> None:
    settings.SIGN_UP = "open"
    for _ in range(3):
        assert sign_up(Client()).status_code == 302
    log_in(Client())
    assert AccountMail.objects.count() == 1


def test_t19_five_codes_a_minute_are_tried_for_an_account() -> None:
    secret = make_totp(cast.make_user())
    client = Client()
    log_in(client, cast.EDITOR)
    for number in range(5):
        post(client, "mfa_authenticate", code=f"{number:06}")
    post(client, "mfa_authenticate", code=code_of(secret))
    assert not is_logged_in(client)
    forget_limits()
    post(client, "mfa_authenticate", code=code_of(secret))
    assert is_logged_in(client)


@pytest.mark.dialects
@pytest.mark.django_db(transaction=True)
def test_t19_of_fifty_guesses_at_once_five_are_tried(tried: list[str]) -> None:
    cast.make_user()
    raised: list[BaseException] = []
    start = threading.Barrier(50)

    def one(number: int) -> None:
        try:
            start.wait()
            guess(number)
        except Exception as error:  # noqa: BLE001  # the test looks at every one
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []
    assert len(tried) == 5


@pytest.mark.dialects
@pytest.mark.django_db(transaction=True)
def test_t35_of_sign_ups_with_one_address_at_once_one_makes_an_account(settings: Any) -> None:
    settings.SIGN_UP = "open"
    answers: list[tuple[int, str]] = []
    start = threading.Barrier(8)

    def one(number: int) -> None:
        try:
            start.wait()
            answer = sign_up(Client(REMOTE_ADDR=f"198.51.100.{number}"))
            answers.append((answer.status_code, answer.headers.get("Location", "")))
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [(302, "/account/confirm-email/")] * 8
    assert User.objects.count() == 1
