"""API keys for people: made, shown once, listed, revoked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client

from accounts.keys import recognise
from accounts.models import AccountMail, ApiKey, AuditEntry, Scope
from newsletters.web.keys import SCOPES
from tests import cast
from tests.web.people import House

pytestmark = pytest.mark.django_db
FORM = {"name": "Laptop", "scopes": ["issues:read", "newsletters:read"], "reach": "all", "expires": "30"}


@pytest.fixture
def house(db: None) -> House:
    return House()


@pytest.fixture
def owner(house: House) -> Client:
    return house.browser("owner", fresh=True)


def make(house: House, owner: Client, **change: Any) -> Any:
    return owner.post(house.at("key-new"), FORM | change)


def key_in(answer: Any) -> str:
    (found,) = re.findall(r"crnt_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", answer.content.decode())
    return str(found)


def test_every_scope_can_be_chosen_once() -> None:
    offered = [scope for _, group in SCOPES for scope, _ in group]
    assert sorted(offered) == sorted(Scope)


def test_a_key_is_shown_once_on_a_page_that_is_never_stored(house: House, owner: Client) -> None:
    answer = make(house, owner)
    text = key_in(answer)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    key = recognise(text)
    assert (key.publisher, key.created_by, key.scopes) == (house.publisher, house.owner, FORM["scopes"])
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days == 30
    listed = owner.get(house.at("keys")).content.decode()
    assert "Laptop" in listed
    assert text not in listed
    entry = AuditEntry.objects.get(action="api_key.created", object_id=key.uid)
    assert (entry.actor, entry.publisher_id) == (house.owner.email, house.publisher.pk)
    stored = str([list(model.objects.values()) for model in (AuditEntry, AccountMail, ApiKey)])
    assert text[-43:] not in stored


def test_a_key_works_in_the_api_until_it_is_revoked(house: House, owner: Client) -> None:
    bearer = {"Authorization": f"Bearer {key_in(make(house, owner))}"}
    assert Client().get("/api/v1/newsletters", headers=bearer).status_code == 200
    key = ApiKey.objects.get(name="Laptop")
    page = house.at("key-revoke").replace(house.key.uid, key.uid)
    assert "Laptop" in owner.get(page).content.decode()
    assert Client().get("/api/v1/newsletters", headers=bearer).status_code == 200
    assert owner.post(page)["Location"] == house.at("keys")
    assert Client().get("/api/v1/newsletters", headers=bearer).status_code == 401
    assert "Revoked" in owner.get(house.at("keys")).content.decode()


def test_a_key_may_be_for_chosen_newsletters_and_without_an_end(house: House, owner: Client) -> None:
    make(house, owner, reach="chosen", newsletters=[house.daily.uid], expires="never")
    key = ApiKey.objects.get(name="Laptop")
    assert (key.expires_at, key.limited, [limit.newsletter for limit in key.limits.all()]) == (
        None,
        True,
        [house.daily],
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["issues:fly"]}, "scopes"),
        ({"expires": "4000"}, "expires"),
        ({"reach": "chosen"}, "newsletters"),
        ({"reach": "everything"}, "reach"),
    ],
)
def test_a_refusal_stands_beside_its_field_and_makes_no_key(
    house: House, owner: Client, change: dict[str, Any], field: str
) -> None:
    answer = make(house, owner, **change)
    assert (answer.status_code, set(answer.context["form"].errors)) == (200, {field})
    assert ApiKey.objects.count() == 1


def test_the_list_tells_what_each_key_is_for_and_when_it_was_used(house: House, owner: Client) -> None:
    key, text = cast.make_api_key(house.publisher, scopes=("issues:read",), newsletters=[house.weekly])
    ApiKey.objects.filter(pk=house.key.pk).update(expires_at=Now())
    ApiKey.objects.filter(pk=key.pk).update(last_used_at="2026-05-03T10:00Z", created_by=house.owner)
    page = owner.get(house.at("keys")).content.decode()
    for shown in (f"crnt_{key.prefix}_", "issues:read", "The Weekly", "3 May 2026, 10:00", "Expired", "Never"):
        assert shown in page
    assert text not in page
    house.weekly.delete()
    assert "None any more" in owner.get(house.at("keys")).content.decode()


def test_a_key_is_made_once_the_password_was_given_again(house: House) -> None:
    client = house.browser("owner")
    answer = client.post(house.at("key-new"), FORM)
    assert not ApiKey.objects.filter(name="Laptop").exists()
    # What was asked for is carried out as soon as the password is there.
    made = client.post(answer["Location"], {"password": cast.PASSWORD, "next": house.at("key-new")})
    assert recognise(key_in(made)).name == "Laptop"
    assert "no-store" in made["Cache-Control"]
