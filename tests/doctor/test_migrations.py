from __future__ import annotations

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from newsletters.doctor.findings import Level, Terms
from newsletters.doctor.migrations import state
from tests.doctor.visit import by_code, fault

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_a_database_of_this_release_is_in_order() -> None:
    assert [one.code for one in state(Terms())] == ["migrations.applied"]


def test_a_migration_that_was_not_applied_is_an_error() -> None:
    [(_, newest)] = MigrationLoader(None).graph.leaf_nodes("accounts")
    MigrationRecorder(connection).record_unapplied("accounts", newest)
    found = fault(state(Terms()), "migrations.pending", Level.ERROR)
    assert f"accounts.{newest}" in found.seen
    assert found.remedy == "python manage.py migrate --noinput"


def test_a_gap_in_the_middle_is_an_error() -> None:
    run("DELETE FROM django_migrations WHERE app = 'newsletters' AND name LIKE '0004%'")
    found = fault(state(Terms()), "migrations.inconsistent", Level.ERROR)
    assert "newsletters.0004_" in found.seen


def test_a_migration_that_a_newer_release_applied_is_an_error() -> None:
    run("INSERT INTO django_migrations (app, name, applied) VALUES ('newsletters', '9999_later', '2030-01-01')")
    found = fault(state(Terms()), "migrations.unknown", Level.ERROR)
    assert "newsletters.9999_later" in found.seen
    assert "migrations.applied" not in by_code(state(Terms()))


def test_a_migration_of_an_app_that_is_not_installed_is_none_of_ours() -> None:
    run("INSERT INTO django_migrations (app, name, applied) VALUES ('elsewhere', '0001_initial', '2030-01-01')")
    assert [one.code for one in state(Terms())] == ["migrations.applied"]
