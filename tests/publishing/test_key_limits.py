"""What limits a key to newsletters: made with it, gone with them, and kept by the migration that moved it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from accounts.models import ApiKey
from core.errors import InvalidError
from newsletters.models import KeyLimit
from newsletters.publishing.keys import create_key
from tests import cast

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
BEFORE = [("accounts", "0006_request_log"), ("newsletters", "0012_newest_doubts")]


def migrate(targets: list[tuple[str, str]]) -> MigrationExecutor:
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return executor


def pairs() -> set[tuple[int, int]]:
    return set(KeyLimit.objects.values_list("api_key", "newsletter"))


def test_a_limited_key_needs_newsletters_of_its_publisher() -> None:
    own = cast.make_newsletter()
    for newsletters in ([], [cast.make_newsletter()], [own, cast.make_newsletter()]):
        with pytest.raises(InvalidError):
            create_key(own.publisher, name="a", scopes=["issues:read"], newsletters=newsletters)
    assert not ApiKey.objects.exists()


def test_a_newsletter_that_is_named_twice_limits_once() -> None:
    newsletter = cast.make_newsletter()
    key, _ = cast.make_api_key(newsletter.publisher, newsletters=[newsletter, newsletter])
    assert pairs() == {(key.pk, newsletter.pk)}


def test_a_limit_goes_with_its_newsletter_and_with_its_key() -> None:
    first, second = cast.make_newsletter(), cast.make_newsletter()
    key, _ = cast.make_api_key(first.publisher, newsletters=[first])
    other, _ = cast.make_api_key(second.publisher, newsletters=[second])
    first.delete()
    assert pairs() == {(other.pk, second.pk)}
    assert ApiKey.objects.get(pk=key.pk).limited
    other.delete()
    assert not pairs()


@pytest.mark.django_db(transaction=True)
def test_keys_keep_their_limits_when_the_database_is_brought_up_to_date_and_back() -> None:
    publisher = cast.make_publisher()
    newsletters = [cast.make_newsletter(publisher, slug=slug) for slug in ("weekly", "daily", "monthly")]
    cast.make_api_key(publisher)
    expected = set()
    for chosen in (newsletters[:2], newsletters[1:]):
        key, _ = cast.make_api_key(publisher, newsletters=chosen)
        expected |= {(key.pk, one.pk) for one in chosen}
    leaves = MigrationExecutor(connection).loader.graph.leaf_nodes()
    assert pairs() == expected
    try:
        older = migrate(BEFORE).loader.project_state(BEFORE).apps
        through = older.get_model("accounts", "ApiKey").newsletters.through
        assert set(through.objects.values_list("apikey_id", "newsletter_id")) == expected
        assert "newsletters_keylimit" not in connection.introspection.table_names()
    finally:
        migrate(leaves)
    assert pairs() == expected
    assert "accounts_apikey_newsletters" not in connection.introspection.table_names()
