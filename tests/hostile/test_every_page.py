"""Whatever somebody writes into an address, a query or a form, no page fails: 5xx is for our own faults alone."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.hashers import Argon2Hasher
from core.tokens import make_token
from newsletters.models import Subscription, SubscriptionState
from tests import cast
from tests.admin.test_roles import MODELS, furnish
from tests.hostile.rounds import MOMENTS, TEXTS, Round, addresses, filled, queries, queries_of
from tests.web.people import House

pytestmark = pytest.mark.django_db
FIELD_TEXTS = ("a%00b", "9" * 22, "9" * 5000, "%5B" * 3000)
WHO = ("superuser", "stranger")


@pytest.fixture(autouse=True)
def _open_doors(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIGN_UP = "open"
    # No limit is to answer in place of a page.
    settings.ACCOUNT_RATE_LIMITS = False
    settings.API_ADDRESS_RATE = 0
    monkeypatch.setattr(Argon2Hasher, "memory_cost", 64)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def rows(house: House) -> dict[str, int]:
    """A row of each model of the admin."""
    return furnish(house.weekly, "ada@example.org", "weekly@gazette.example")


def walk(house: House, who: str) -> Round:
    return Round(house.browser(who, fresh=who != "stranger"))


@pytest.mark.parametrize("who", WHO)
def test_no_piece_of_an_address_makes_a_page_fail(house: House, who: str) -> None:
    steps = walk(house, who)
    for address in addresses():
        if "%(" in address:
            for piece in (*TEXTS, house.publisher.uid, "x" * 3500):
                steps.ask("GET", filled(address, piece))
                steps.ask("POST", filled(address, piece))
    assert steps.failed == []


@pytest.mark.parametrize("who", WHO)
def test_no_query_makes_a_page_fail(house: House, who: str) -> None:
    steps = walk(house, who)
    wrong = queries(("next", "q", "p", "page", "o", "x"), ("%00", "%FF", "9" * 5000, "%2F%2F%5B", "http%3A%2F%2F%5B"))
    for address in addresses():
        here = filled(address, house.publisher.uid)
        for method in ("GET", "POST"):
            # All at once, since a page reads few of them.
            for number in range(5):
                steps.ask(method, f"{here}?{'&'.join(wrong[number::5])}")
    assert steps.failed == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_parameter_makes_a_list_of_the_admin_fail(house: House, rows: dict[str, int], name: str) -> None:
    page = admin.site.get_model_admin(apps.get_model(name.replace("_", ".", 1)))
    steps = walk(house, "superuser")
    here = reverse(f"admin:{name}_changelist")
    for query in queries_of(page):
        steps.ask("GET", f"{here}?{query}")
    assert steps.failed == []


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_field_makes_a_form_of_the_admin_fail(house: House, rows: dict[str, int], name: str) -> None:
    steps = walk(house, "superuser")
    for here in (reverse(f"admin:{name}_add"), reverse(f"admin:{name}_change", args=[rows[name]])):
        steps.post_one_by_one(here, (*FIELD_TEXTS, *MOMENTS[1:]))
    listed = reverse(f"admin:{name}_changelist")
    for field in ("action", "_selected_action", "index", "select_across", "confirmed", "origin"):
        for value in TEXTS:
            steps.ask("POST", listed, {"action": "x", "_selected_action": str(rows[name]), field: value})
    assert steps.failed == []


@pytest.mark.parametrize("who", ["owner", "stranger"])
def test_no_field_makes_a_form_of_a_page_fail(house: House, who: str) -> None:
    steps = walk(house, who)
    named = {house.at(it) for it in ("member", "member-remove", "member-transfer", "invite", "key-new", "key-revoke")}
    named |= {filled(it, house.publisher.uid) for it in addresses() if not it.startswith(("/admin/", "/api/"))}
    for here in sorted(named):
        if "/logout" not in here:
            steps.post_one_by_one(here, FIELD_TEXTS)
    assert steps.failed == []


@pytest.mark.parametrize("value", ['"\\000aaaaaaaaaa"', "\\", '"\\377\\377aaaaaaaaa"', "x" * 4000, "é" * 40, ""])
def test_no_cookie_makes_a_page_fail(house: House, settings: Settings, value: str) -> None:
    names = (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.DEVICE_COOKIE_NAME, "mfa_trusted")
    for name in (*names, settings.LANGUAGE_COOKIE_NAME):
        steps = Round(Client(HTTP_COOKIE=f"{name}={value}"))
        for here in ("/", "/account/login/", "/admin/", "/account/api/app/v1/auth/session", "/u/x", "/publishers/"):
            steps.ask("GET", here)
            steps.ask("POST", here)
        assert steps.failed == []


def test_a_reader_is_unsubscribed_whatever_comes_along() -> None:
    subscription = cast.make_reader(cast.make_newsletter())
    path = f"/u/{make_token('unsubscribe', subscription.pk)}?x=%00"
    assert Client(HTTP_COOKIE='x="\\000"').post(path, {"x": "\0"}).status_code == 200
    assert Subscription.objects.get().state == SubscriptionState.UNSUBSCRIBED
