from __future__ import annotations

from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now
from django.test import Client, override_settings

from core.models import ClockLease


def test_healthz_answers_without_asking_the_database(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readyz_is_200_when_every_migration_is_applied(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["migrations"] == "applied"


@pytest.mark.django_db
def test_readyz_is_503_and_names_the_migrations_that_are_not_applied(client: Client) -> None:
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("newsletters")
    MigrationRecorder(connection).record_unapplied(*newest)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["pending_migrations"] == [".".join(newest)]


@pytest.mark.django_db
@pytest.mark.parametrize("gap", [("newsletters", "0004_delivery_storage"), ("accounts", "0001_initial")])
def test_readyz_is_503_and_names_a_gap_before_a_migration_that_is_applied(client: Client, gap: tuple[str, str]) -> None:
    MigrationRecorder(connection).record_unapplied(*gap)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["pending_migrations"]) == (503, [".".join(gap)])


@pytest.mark.django_db
def test_readyz_is_503_when_the_database_does_not_answer(client: Client) -> None:
    with mock.patch("core.health.MigrationExecutor", side_effect=OperationalError("connection refused")):
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "database": "unreachable"}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"broker_ok_at": None, "broker_error": ""}, "unknown"),
        ({"broker_ok_at": Now(), "broker_error": ""}, "ok"),
        ({"broker_ok_at": Now(), "broker_error": "ConnectionRefusedError"}, "unreachable"),
    ],
)
def test_readyz_shows_the_broker_and_does_not_need_it(client: Client, fields: dict[str, object], state: str) -> None:
    ClockLease.objects.update_or_create(pk=1, defaults={})
    ClockLease.objects.update(**fields)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["broker"]["state"]) == (200, state)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.django_db
def test_a_load_balancer_may_ask_by_any_name_over_plain_http(client: Client, path: str) -> None:
    with override_settings(SECURE_SSL_REDIRECT=True):
        assert client.get(path, HTTP_HOST="10.0.0.7:8000").status_code == 200
        assert client.post(path, HTTP_HOST="10.0.0.7:8000").status_code == 405
