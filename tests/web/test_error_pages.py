"""What is told when something goes wrong is a page like every other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from tests import cast
from tests.accounts.doors import post
from tests.web.page_reader import read_page

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_counted() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def check(response: Any, *, status: int, heading: str) -> None:
    assert response.status_code == status
    page = read_page(response.content.decode())
    assert (page.faults, page.headings) == ([], [heading])
    assert "no-store" in response["Cache-Control"]
    assert "unsafe" not in response["Content-Security-Policy"]


WRONG: dict[str, Callable[[], Any]] = {
    "There is no such page": lambda: Client().get("/no/such/page"),
    "This form is too old": lambda: post(Client(enforce_csrf_checks=True), "account_login", login=cast.EDITOR),
}


@pytest.mark.parametrize(("heading", "status"), [("There is no such page", 404), ("This form is too old", 403)])
def test_errors_are_whole_pages(heading: str, status: int) -> None:
    check(WRONG[heading](), status=status, heading=heading)


def test_too_many_attempts_are_told_on_a_whole_page(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"reset_password": "1/m/ip"}
    browser = Client()
    for _ in range(2):
        response = post(browser, "account_reset_password", email=cast.EDITOR)
    check(response, status=429, heading="Too many attempts")


def test_a_failure_is_told_on_a_whole_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_user: User) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("accounts.web.profile.get_adapter", fail)
    inside = Client(raise_request_exception=False)
    inside.force_login(cast.make_user())
    response = inside.get(reverse("account_overview"))
    check(response, status=500, heading="Something failed on our side")
