"""What is told when something goes wrong is a page like every other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from tests import cast
from tests.accounts.doors import post
from tests.web.page_reader import check

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_doors")]


WRONG: dict[str, Callable[[], Any]] = {
    "There is no such page": lambda: Client().get("/no/such/page"),
    "This form is too old": lambda: post(Client(enforce_csrf_checks=True), "account_login", login=cast.EDITOR),
}


@pytest.mark.parametrize(("heading", "status"), [("There is no such page", 404), ("This form is too old", 403)])
def test_errors_are_whole_pages(heading: str, status: int) -> None:
    assert check(WRONG[heading](), status=status).headings == [heading]


def test_too_many_attempts_are_told_on_a_whole_page(settings: Settings) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"reset_password": "1/m/ip"}
    browser = Client()
    for _ in range(2):
        response = post(browser, "account_reset_password", email=cast.EDITOR)
    assert check(response, status=429).headings == ["Too many attempts"]


def test_a_failure_is_told_on_a_whole_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_user: User) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("accounts.web.profile.get_adapter", fail)
    inside = Client(raise_request_exception=False)
    inside.force_login(cast.make_user())
    response = inside.get(reverse("account_overview"))
    assert check(response, status=500).headings == ["Something failed on our side"]
