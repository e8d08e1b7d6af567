from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from accounts.keys import recognise
from accounts.models import ApiKey, Membership, Publisher, Role, Scope
from tests import cast

pytestmark = pytest.mark.django_db


def run(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out, stderr=StringIO())
    return out.getvalue().strip()


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_key_is_printed_alone_and_works(by: str) -> None:
    publisher = cast.make_publisher("Daily Planet")
    chosen = "Daily Planet" if by == "name" else publisher.uid
    text = run("create_api_key", "--publisher", chosen, "--name", "Form", "--scopes", "issues:read, subscribers:write")
    key = recognise(text)
    assert key.publisher == publisher
    assert key.scopes == ["issues:read", "subscribers:write"]
    assert key.expires_at is None


def test_a_key_may_have_every_scope_and_an_end() -> None:
    cast.make_publisher("Daily Planet")
    run("create_api_key", "--publisher", "Daily Planet", "--name", "x", "--scopes", "all", "--expires-days", "30")
    key = ApiKey.objects.get()
    assert key.scopes == sorted(Scope.values)
    assert key.expires_at is not None
    assert 29.9 < (key.expires_at - key.created_at).total_seconds() / 86_400 < 30.1


def test_a_key_may_be_for_reading_and_for_chosen_newsletters() -> None:
    publisher = cast.make_publisher("Daily Planet")
    weekly, daily, _ = (cast.make_newsletter(publisher, slug=slug) for slug in ("weekly", "daily", "monthly"))
    arguments = ["--publisher", "Daily Planet", "--name", "x", "--scopes", "read"]
    run("create_api_key", *arguments, "--newsletters", f"weekly, {daily.uid}")
    key = ApiKey.objects.get()
    assert key.scopes == sorted(Scope.reading())
    assert key.limited
    assert {limit.newsletter for limit in key.limits.all()} == {weekly, daily}


@pytest.mark.parametrize("named", ["theirs", "gone", "nl_00000000000000000000000000", "nl_", "weekly,nothing"])
def test_a_newsletter_that_is_not_there_makes_no_key(named: str) -> None:
    publisher = cast.make_publisher("Daily Planet")
    cast.make_newsletter(publisher, slug="weekly")
    cast.make_newsletter(publisher, slug="gone", deleted_at=Now())
    cast.make_newsletter(slug="theirs")
    arguments = ["--publisher", "Daily Planet", "--name", "x", "--scopes", "all", "--newsletters", named]
    with pytest.raises(CommandError):
        run("create_api_key", *arguments)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("publisher", "scopes", "days"),
    [
        ("Nobody", "all", "1"),
        ("pub_00000000000000000000000000", "all", "1"),
        ("Twins", "all", "1"),
        ("Daily Planet", "issues:fly", "1"),
        ("Daily Planet", "", "1"),
        ("Daily Planet", "all", "0"),
        ("Daily Planet", "all", "4000"),
    ],
)
def test_a_wrong_argument_makes_no_key(publisher: str, scopes: str, days: str) -> None:
    for name in ("Daily Planet", "Twins", "Twins"):
        cast.make_publisher(name)
    arguments = ["--publisher", publisher, "--name", "x", "--scopes", scopes, "--expires-days", days]
    with pytest.raises(CommandError):
        run("create_api_key", *arguments)
    assert not ApiKey.objects.exists()


def test_a_publisher_is_made_with_its_owner() -> None:
    uid = run("create_publisher", "--name", "Planet", "--time-zone", "Europe/Berlin", "--owner-email", cast.EDITOR)
    publisher = Publisher.objects.get()
    assert (publisher.uid, publisher.time_zone) == (uid, "Europe/Berlin")
    membership = Membership.objects.get()
    assert (membership.user.email, membership.role) == (cast.EDITOR, Role.OWNER)
    assert not membership.user.has_usable_password()
    assert membership.user.is_staff


@pytest.mark.parametrize(
    "arguments",
    [("--name", " "), ("--name", "x", "--time-zone", "Mars/Base"), ("--name", "x", "--owner-email", "nobody")],
)
def test_a_wrong_argument_makes_no_publisher(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run("create_publisher", *arguments)
    assert not Publisher.objects.exists()
