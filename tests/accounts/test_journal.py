from __future__ import annotations

import atexit
import threading
import time
from datetime import timedelta

import pytest
from django.db import DataError, OperationalError
from django.db.models.functions import Now
from pytest_django.fixtures import Settings
from structlog.testing import capture_logs

from accounts import journal as journals
from accounts.journal import Entry, Journal, forget_old
from accounts.models import ApiKey, LoggedRequest
from core.database import database_now
from tests import cast

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def entry(key: ApiKey, *, seconds_ago: float = 0.0, problem: bytes = b"") -> Entry:
    return Entry(
        key=key,
        request_id="0" * 32,
        method="GET",
        operation="list_issues",
        status=404 if problem else 200,
        problem=problem,
        milliseconds=12.34,
        ended=time.monotonic() - seconds_ago,
    )


@pytest.fixture
def key() -> ApiKey:
    return cast.make_api_key(cast.make_publisher())[0]


@pytest.fixture
def opened() -> Journal:
    journal = Journal(most=3)
    journal.open()
    return journal


def test_what_is_noted_is_written_with_the_time_of_its_answer(key: ApiKey, opened: Journal) -> None:
    opened.note(entry(key, seconds_ago=90, problem=b'{"code": "not_found"}'))
    assert opened.flush() == 1
    row = LoggedRequest.objects.get()
    assert (row.publisher, row.api_key, row.status, row.code) == (key.publisher, key, 404, "not_found")
    assert (row.operation, row.milliseconds) == ("list_issues", 12.3)
    assert timedelta(seconds=89) < database_now() - row.at < timedelta(seconds=120)


def test_last_use_is_written_at_most_once_a_minute(key: ApiKey, opened: Journal) -> None:
    def use() -> None:
        opened.note(entry(key))
        opened.flush()
        key.refresh_from_db()

    use()
    first = key.last_used_at
    assert first is not None
    use()
    assert key.last_used_at == first
    ApiKey.objects.update(last_used_at=Now() - timedelta(seconds=61))
    use()
    assert key.last_used_at is not None
    assert key.last_used_at > first


def test_what_does_not_fit_is_counted_and_never_waits(key: ApiKey, opened: Journal) -> None:
    for _ in range(5):
        opened.note(entry(key))
    assert opened.dropped == 2
    assert opened.flush() == 3


def test_a_journal_that_nobody_writes_takes_nothing(key: ApiKey) -> None:
    journal = Journal()
    journal.note(entry(key))
    assert (journal.flush(), journal.dropped) == (0, 0)


def test_what_a_database_that_is_away_did_not_take_is_kept_in_order(
    key: ApiKey, opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry(key, seconds_ago=number) for number in (3, 2)]
    for one in entries:
        opened.note(one)
    with monkeypatch.context() as broken:
        broken.setattr(journals, "_write", _raise(OperationalError))
        with pytest.raises(OperationalError):
            opened.flush()
    opened.note(entry(key, seconds_ago=1))
    assert opened.flush() == 3
    times = list(LoggedRequest.objects.order_by("pk").values_list("at", flat=True))
    assert times == sorted(times)


def test_what_can_never_be_written_is_dropped(key: ApiKey, opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    opened.note(entry(key))
    with monkeypatch.context() as broken:
        broken.setattr(journals, "_write", _raise(DataError))
        with pytest.raises(DataError):
            opened.flush()
    assert (opened.flush(), opened.dropped) == (0, 1)


def _raise(error: type[Exception]) -> object:
    def fail(_batch: object) -> None:
        raise error

    return fail


def test_a_publisher_that_was_deleted_meanwhile_takes_nobody_along(key: ApiKey, opened: Journal) -> None:
    gone = cast.make_api_key(cast.make_publisher())[0]
    opened.note(entry(gone))
    opened.note(entry(key))
    gone.publisher.delete()
    opened.flush()
    assert LoggedRequest.objects.get().api_key == key


def test_without_days_only_the_last_use_is_written(key: ApiKey, opened: Journal, settings: Settings) -> None:
    settings.API_REQUEST_LOG_DAYS = 0
    opened.note(entry(key))
    opened.flush()
    assert not LoggedRequest.objects.exists()
    assert ApiKey.objects.get().last_used_at is not None


def test_entries_go_after_their_days(key: ApiKey, opened: Journal, settings: Settings) -> None:
    settings.API_REQUEST_LOG_DAYS = 30
    for days in (31, 29, 0):
        opened.note(entry(key, seconds_ago=days * 86_400))
    opened.flush()
    assert forget_old() == 1
    assert LoggedRequest.objects.filter(at__lt=Now() - timedelta(days=30)).count() == 0
    assert LoggedRequest.objects.count() == 2
    settings.API_REQUEST_LOG_DAYS = 0
    assert forget_old() == 2


def test_the_thread_tells_what_was_dropped_and_ends_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(atexit, "register", lambda _function: None)
    journal = Journal(most=0)
    told = threading.Event()
    monkeypatch.setattr(Journal, "flush", lambda _self: told.set())
    journal.dropped = 7
    with capture_logs() as lines:
        journal.start()
        assert told.wait(120)
        journal.stop()
    assert {"event": "api_requests_dropped", "dropped": 7, "log_level": "warning"} in lines
    assert not [one for one in threading.enumerate() if one.name == "journal"]
