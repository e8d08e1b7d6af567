from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries

from accounts.keys import create_key, recognise, revoke
from accounts.models import ApiKey, Scope
from core.errors import InvalidError, UnauthenticatedError
from tests import cast

pytestmark = pytest.mark.django_db
READ = [Scope.ISSUES_READ]


def test_a_key_is_recognised_by_its_text_and_its_secret_is_not_stored() -> None:
    key, text = create_key(cast.make_publisher(), name="Laptop", scopes=READ)
    assert re.fullmatch(r"crnt_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", text)
    assert recognise(text).pk == key.pk
    secret = text[-43:]
    stored = ApiKey.objects.values().get()
    assert not any(secret in repr(value) for value in stored.values())


def test_every_refusal_sounds_the_same() -> None:
    publisher = cast.make_publisher()
    _, text = create_key(publisher, name="a", scopes=READ)
    revoked, revoked_text = create_key(publisher, name="b", scopes=READ)
    revoke(revoked)
    expired, expired_text = create_key(publisher, name="c", scopes=READ, expires_in=timedelta(days=1))
    assert recognise(expired_text).pk == expired.pk
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=Now())
    other_secret = text[:-1] + ("A" if text[-1] != "A" else "B")
    texts = ["", "x", text.upper(), text + "a", text[:-1], f" {text}", f"{text}\n", other_secret, "crnt_" + "é" * 52]
    said = set()
    for refused in [*texts, "crnt_00000000_" + "a" * 43, revoked_text, expired_text, "\0", "a" * 10_000]:
        with pytest.raises(UnauthenticatedError) as caught:
            recognise(refused)
        said.add((caught.value.code, caught.value.detail))
    assert len(said) == 1


def test_a_revoked_key_keeps_the_time_of_its_first_revocation() -> None:
    key, _ = create_key(cast.make_publisher(), name="a", scopes=READ)
    revoke(key)
    first = ApiKey.objects.get().revoked_at
    revoke(key)
    assert first is not None
    assert ApiKey.objects.get().revoked_at == first


def test_recognising_a_key_is_one_statement_and_writes_nothing(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    _, text = create_key(cast.make_publisher(), name="a", scopes=READ)
    with django_assert_num_queries(1):
        assert recognise(text).publisher.name
    assert ApiKey.objects.get().last_used_at is None


@pytest.mark.parametrize("scopes", [[], ["issues:everything"], ["issues:read", "admin"]])
def test_a_key_needs_known_scopes(scopes: list[str]) -> None:
    with pytest.raises(InvalidError):
        create_key(cast.make_publisher(), name="a", scopes=scopes)
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\nb"])
def test_a_key_needs_a_name_of_one_line(name: str) -> None:
    with pytest.raises(InvalidError):
        create_key(cast.make_publisher(), name=name, scopes=READ)
