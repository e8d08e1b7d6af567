"""Founding a publisher, naming it, and what people are told."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from pytest_django.fixtures import Settings

from accounts.keys import create_key, revoke
from accounts.models import AccountMail, AuditEntry, Membership, Publisher, Role, User
from accounts.people import founding
from accounts.people.founding import found_publisher, update_publisher
from core.errors import ForbiddenError, InvalidError, NotFoundError
from tests import cast
from tests.accounts.gazette import ACTOR, EMIL, OLGA, acts, mails, person, roles

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def found(by: User, name: str = "The Gazette", time_zone: str = "Europe/Berlin") -> Publisher:
    return found_publisher(by, name=name, time_zone=time_zone, actor=ACTOR)


def test_who_founds_a_publisher_owns_it_and_may_open_the_admin(settings: Settings) -> None:
    settings.SIGN_UP = "open"
    olga = cast.make_user(OLGA)
    made = found(olga)
    assert (made.name, made.time_zone, roles(made)) == ("The Gazette", "Europe/Berlin", {OLGA: "owner"})
    assert User.objects.get().is_staff
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.publisher_id, entry.object_id) == ("publisher.created", made.pk, made.uid)


@pytest.mark.parametrize("mode", ["invitation", "closed"])
def test_where_sign_up_is_not_open_only_superusers_found_publishers(settings: Settings, mode: str) -> None:
    settings.SIGN_UP = mode
    with pytest.raises(ForbiddenError):
        found(cast.make_user(OLGA))
    assert not Publisher.objects.exists()
    assert found(cast.make_user("root@example.org", is_superuser=True))


@pytest.mark.parametrize(
    ("name", "time_zone", "field"),
    [*((name, "UTC", "/name") for name in ("", " \u200b", "x" * 101, "a\nb")), ("x", "Mars/Base", "/time_zone")],
)
def test_a_wrong_name_or_time_zone_is_refused_at_its_field(
    settings: Settings, name: str, time_zone: str, field: str
) -> None:
    settings.SIGN_UP = "open"
    olga = cast.make_user(OLGA)
    with pytest.raises(InvalidError) as refused:
        found(olga, name, time_zone)
    assert [part.pointer for part in refused.value.errors] == [field]
    assert not Publisher.objects.exists()
    made = found(olga)
    with pytest.raises(InvalidError):
        update_publisher(made, name=name, time_zone=time_zone, by=olga, actor=ACTOR)
    assert Publisher.objects.get().name == "The Gazette"


def test_one_person_does_not_found_any_number(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIGN_UP = "open"
    monkeypatch.setattr(founding, "MOST_OWNED", 1)
    olga = cast.make_user(OLGA)
    found(olga)
    with pytest.raises(ForbiddenError) as refused:
        found(olga)
    assert refused.value.code == "too_many_publishers"


@pytest.mark.parametrize(
    ("role", "error"), [(Role.EDITOR, ForbiddenError), (Role.VIEWER, ForbiddenError), (None, NotFoundError)]
)
def test_only_owners_change_a_publisher(role: Role | None, error: type[Exception]) -> None:
    gazette = cast.make_publisher()
    olga = person(gazette)
    update_publisher(gazette, name="The Planet", time_zone="UTC", by=olga, actor=ACTOR)
    update_publisher(gazette, name="The Planet", time_zone="UTC", by=olga, actor=ACTOR)
    assert acts() == ["publisher.changed"]
    emil = cast.make_user(EMIL)
    if role is not None:
        Membership.objects.create(publisher=gazette, user=emil, role=role)
    with pytest.raises(error):
        update_publisher(gazette, name="Emil's", time_zone="UTC", by=emil, actor=ACTOR)
    assert Publisher.objects.get().name == "The Planet"


def test_owners_and_who_made_it_are_told_of_a_key_and_of_its_end() -> None:
    gazette = cast.make_publisher()
    olga, emil = person(gazette), person(gazette, EMIL, Role.EDITOR)
    person(cast.make_publisher("The Rival"), "owner@rival.example")
    key, _ = create_key(gazette, name="Laptop", scopes=["issues:read"], created_by=emil, actor=ACTOR)
    assert mails() == {(OLGA, "api_key_created"), (EMIL, "api_key_created")}
    told = AccountMail.objects.filter(user=olga).get().detail
    assert (told["publisher"], told["key"], told["by"], told["ip"]) == (
        "The Gazette",
        "Laptop",
        ACTOR.name,
        "192.0.2.7",
    )
    AccountMail.objects.all().delete()
    for _ in range(2):
        revoke(key, actor=ACTOR)
    assert sorted(AccountMail.objects.values_list("to_address", flat=True)) == [EMIL, OLGA]
    assert mails() == {(OLGA, "api_key_revoked"), (EMIL, "api_key_revoked")}


@pytest.mark.django_db(transaction=True)
def test_members_of_before_may_open_the_admin_and_nobody_else() -> None:
    member, stranger = cast.make_user(OLGA, publisher=cast.make_publisher()), cast.make_user(EMIL)
    leaves = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        MigrationExecutor(connection).migrate([("accounts", "0011_known_devices")])
    finally:
        MigrationExecutor(connection).migrate(leaves)
    assert dict(User.objects.values_list("email", "is_staff")) == {member.email: True, stranger.email: False}
