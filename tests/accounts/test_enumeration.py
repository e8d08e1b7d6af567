"""T17: whether an address has an account is told by no answer, and by no difference in the work for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.hashers import Argon2Hasher
from accounts.models import AccountMail, AccountMailKind, User
from tests import cast
from tests.accounts.doors import App, forget_limits

pytestmark = pytest.mark.django_db
# As long as each other, since some pages repeat what was typed.
KNOWN, UNKNOWN, WAITING = "known@example.org", "other@example.org", "never@example.org"
Ask = Callable[[str], Any]


@pytest.fixture(autouse=True)
def _known(settings: Any) -> Iterator[None]:
    settings.SIGN_UP = "open"
    forget_limits()
    cast.make_user(KNOWN)
    cast.make_user(WAITING)
    EmailAddress.objects.filter(email=WAITING).update(verified=False)
    yield
    forget_limits()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each password that was hashed."""
    done: list[str] = []
    for name in ("encode", "verify"):
        original = getattr(Argon2Hasher, name)

        def counted(self: Argon2Hasher, *arguments: Any, _original: Any = original, _name: str = name) -> Any:
            done.append(_name)
            return _original(self, *arguments)

        monkeypatch.setattr(Argon2Hasher, name, counted)
    return done


def sign_up_page(address: str) -> Any:
    return Client().post("/account/signup/", {"email": address, "password1": cast.PASSWORD})


def weak_sign_up_page(address: str) -> Any:
    return Client().post("/account/signup/", {"email": address, "password1": "short"})


def sign_up_json(address: str) -> Any:
    return App().post("auth/signup", email=address, password=cast.PASSWORD)


def weak_sign_up_json(address: str) -> Any:
    return App().post("auth/signup", email=address, password="short")


def reset_page(address: str) -> Any:
    return Client().post("/account/password/reset/", {"email": address})


def reset_json(address: str) -> Any:
    return App().post("auth/password/request", email=address)


def log_in_page(address: str) -> Any:
    return Client().post("/account/login/", {"login": address, "password": "a wrong pass phrase"})


def log_in_json(address: str) -> Any:
    return App().post("auth/login", email=address, password="a wrong pass phrase")


EVERY_DOOR = [
    sign_up_page,
    weak_sign_up_page,
    sign_up_json,
    weak_sign_up_json,
    reset_page,
    reset_json,
    log_in_page,
    log_in_json,
]


def seen(answer: Any, address: str) -> tuple[Any, ...]:
    """Return all that an answer shows, with what is random or was typed made the same."""
    body = answer.content.decode().replace(address, "ADDRESS")
    body = re.sub(r'(csrfmiddlewaretoken" value=)"\w+"', r"\1", body)
    body = re.sub(r'(session_token": )"\w+"', r"\1", body)
    headers = {name: value for name, value in answer.headers.items() if name not in ("X-Request-Id", "Expires")}
    cookies = {
        name: (len(cookie.value), {key: value for key, value in cookie.items() if key != "expires"})
        for name, cookie in answer.cookies.items()
    }
    return answer.status_code, body, headers, cookies


@pytest.mark.parametrize("ask", EVERY_DOOR)
@pytest.mark.parametrize("known", [KNOWN, WAITING])
def test_t17_an_answer_does_not_tell_whether_there_is_an_account(ask: Ask, known: str) -> None:
    assert seen(ask(known), known) == seen(ask(UNKNOWN), UNKNOWN)


@pytest.mark.parametrize("ask", [sign_up_page, sign_up_json])
def test_t17_what_follows_after_sign_up_does_not_tell_either(ask: Ask) -> None:
    def pages_after(address: str) -> list[Any]:
        answer = ask(address)
        if ask is sign_up_json:
            app = App()
            app.token = json.loads(answer.content)["meta"]["session_token"]
            return [seen(app.call("GET", "auth/session"), address)]
        client = Client(headers={"Cookie": "; ".join(f"{n}={c.value}" for n, c in answer.cookies.items())})
        return [seen(client.get(page), address) for page in ("/account/confirm-email/", "/account/login/", "/")]

    assert pages_after(KNOWN) == pages_after(UNKNOWN)


@pytest.mark.parametrize("ask", EVERY_DOOR)
@pytest.mark.parametrize("known", [KNOWN, WAITING])
def test_t17_as_many_passwords_are_hashed_with_and_without_an_account(ask: Ask, known: str, hashed: list[str]) -> None:
    ask(known)
    with_account = len(hashed)
    hashed.clear()
    ask(UNKNOWN)
    expected = 0 if ask in (weak_sign_up_page, weak_sign_up_json, reset_page, reset_json) else 1
    assert (with_account, len(hashed)) == (expected, expected)


@pytest.mark.parametrize("ask", [reset_page, reset_json])
def test_t17_a_reset_writes_as_much_with_and_without_an_account(ask: Ask) -> None:
    def writes(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            ask(address)
        return sum(query["sql"].startswith("INSERT INTO") and "accountmail" in query["sql"] for query in queries)

    assert (writes(KNOWN), writes(UNKNOWN)) == (1, 1)


@pytest.mark.parametrize("ask", [log_in_page, log_in_json])
def test_t17_a_refused_log_in_writes_as_much_with_and_without_an_account(ask: Ask) -> None:
    def writes(address: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            ask(address)
        return sum(query["sql"].startswith("INSERT INTO") and "auditentry" in query["sql"] for query in queries)

    assert (writes(KNOWN), writes(UNKNOWN)) == (1, 1)


@pytest.mark.parametrize("ask", [reset_page, reset_json])
def test_an_address_without_an_account_is_never_mailed_a_reset(ask: Ask) -> None:
    ask(UNKNOWN)
    assert not AccountMail.objects.exists()
    ask(KNOWN)
    mail = AccountMail.objects.get()
    assert (mail.kind, mail.to_address) == (AccountMailKind.RESET_PASSWORD, KNOWN)


@pytest.mark.parametrize("ask", [sign_up_page, sign_up_json])
def test_who_has_an_account_is_told_by_mail_alone_that_somebody_signed_up(ask: Ask) -> None:
    before = User.objects.get(email=KNOWN).password
    ask(KNOWN)
    mail = AccountMail.objects.get()
    assert (mail.kind, mail.to_address) == (AccountMailKind.ADDRESS_TAKEN, KNOWN)
    assert User.objects.get(email=KNOWN).password == before


def test_t17_an_account_without_a_password_is_hashed_for_as_well(hashed: list[str]) -> None:
    User.objects.create_user("invited@example.org")
    hashed.clear()
    log_in_page("invited@example.org")
    assert len(hashed) == 1


@pytest.mark.parametrize("ask", [log_in_page, log_in_json])
def test_t17_somebody_inactive_is_told_so_only_with_the_right_password(ask: Ask) -> None:
    User.objects.filter(email=KNOWN).update(is_active=False)
    assert seen(ask(KNOWN), KNOWN) == seen(ask(UNKNOWN), UNKNOWN)
