"""Imports that are killed, sliced, overtaken, or run beside others."""

from __future__ import annotations

import functools
import threading
from datetime import timedelta
from typing import Any

import pytest

from newsletters.audience import import_part, import_sql, import_upload, importing
from newsletters.audience.subscribing import erase_subscriber
from newsletters.models import ConsentEvent, Import, ImportPart, ImportRowError, Subscriber, Subscription
from tests import cast
from tests.audience.acts import accept, counts, errors, many, run
from tests.racing import raised_at_once

pytestmark = pytest.mark.django_db


class KilledError(BaseException):
    """Stands for a worker that is gone from one instruction to the next."""


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
@pytest.mark.parametrize("rows", [1, 10, 17])
def test_a_worker_killed_at_any_part_changes_no_count(rows: int, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", rows)
    newsletter = cast.make_newsletter()
    cast.make_reader(newsletter, address="reader-3@example.org")
    # Duplicates within a part, across parts, of a reader who was there, and bad rows.
    content = "email,name\n" + (many(8) + "nobody,\n" + "reader-3@example.org,again\n") * 2 + many(30)
    accepted = accept(content, newsletter)
    commit, add_readers = import_part.commit, import_sql.add_readers
    calls = 0

    def die_every_second_time(at: str) -> None:
        nonlocal calls
        if at != moment:
            return
        calls += 1
        if calls % 2:
            raise KilledError

    def dying_commit(*arguments: Any, **options: Any) -> None:
        die_every_second_time("before")
        commit(*arguments, **options)
        die_every_second_time("after")

    def dying_inside(*arguments: Any, **options: Any) -> import_sql.Outcome:
        outcome = add_readers(*arguments, **options)
        die_every_second_time("inside")
        return outcome

    monkeypatch.setattr(importing, "commit", dying_commit)
    monkeypatch.setattr(import_part, "add_readers", dying_inside)
    deaths = 0
    while accepted.state != "done":
        try:
            run(accepted)
        except KilledError:
            deaths += 1
            assert importing.due_ids(10) == []
            Import.objects.update(lease_until=None)
        accepted.refresh_from_db()
    assert deaths >= 2
    assert accepted.total == 50
    assert counts(accepted) == {"added": 29, "already_present": 1, "duplicates": 18, "invalid": 2}
    assert Subscription.objects.count() == Subscriber.objects.count() == ConsentEvent.objects.count() == 30
    assert errors(accepted) == [(10, "invalid_address"), (20, "invalid_address")]


def test_a_long_import_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 10)
    monkeypatch.setattr(importing, "SLICE_SECONDS", -1)
    accepted = accept("email,name\n" + many(25))
    for cursor in (10, 20, 25):
        assert importing.due_ids(10) == [accepted.pk]
        assert run(accepted).cursor == cursor
    assert (accepted.state, counts(accepted)) == ("done", {"added": 25})
    assert importing.due_ids(10) == []
    assert counts(run(accepted)) == {"added": 25}


def test_what_has_been_read_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 10)
    monkeypatch.setattr(importing, "SLICE_SECONDS", -1)
    accepted = accept("email,name\n" + many(25))
    run(accepted)
    ImportPart.objects.filter(position=0).update(data=b"not a CSV file")
    while run(accepted).state == "running":
        pass
    assert counts(accepted) == {"added": 25}


def test_a_short_file_comes_before_the_rest_of_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 10)
    monkeypatch.setattr(importing, "SLICE_SECONDS", -1)
    long = run(accept("email,name\n" + many(25)))
    short = accept("email,name\n" + many(5, 100))
    assert importing.due_ids(10) == [short.pk, long.pk]


def test_a_process_reads_one_import_at_a_time() -> None:
    first, second = accept("email,name\n" + many(5)), accept("email,name\n" + many(5, 100))
    with importing._one_at_a_time:
        assert run(first).state == "queued"
    assert importing.due_ids(10) == [first.pk, second.pk]
    assert (run(first).state, run(second).state) == ("done", "done")


def test_a_reader_erased_while_the_file_is_read_is_not_added_again_by_a_repetition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 1)
    monkeypatch.setattr(importing, "SLICE_SECONDS", -1)
    accepted = accept("email\nada@example.org\nboris@example.org\nada@example.org\n")
    run(accepted)
    erase_subscriber(Subscriber.objects.get(address=cast.ADA))
    run(accepted)
    assert counts(run(accepted)) == {"added": 2, "duplicates": 1}
    assert list(Subscriber.objects.values_list("address", flat=True)) == [cast.BORIS]


def test_a_worker_that_lost_its_lease_does_not_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = accept("email,name\n" + many(5))
    find_part = import_part.find_part

    def overtaken(running: Import, position: int) -> import_upload.Part | None:
        monkeypatch.setattr(importing, "find_part", find_part)
        found = find_part(running, position)
        Import.objects.update(lease_until=None)
        with monkeypatch.context() as another_process:
            another_process.setattr(importing, "_one_at_a_time", threading.Lock())
            importing.run(accepted.pk)
        return found

    monkeypatch.setattr(importing, "find_part", overtaken)
    assert counts(run(accepted)) == {"added": 5}
    assert accepted.state == "done"


class Process:
    """What a process has of its own: the lock that lets it read one import at a time."""

    def __init__(self) -> None:
        self._locks = threading.local()

    def acquire(self, *, blocking: bool) -> bool:
        self._locks.mine = self._locks.__dict__.get("mine") or threading.Lock()
        return bool(self._locks.mine.acquire(blocking=blocking))

    def release(self) -> None:
        self._locks.mine.release()


def run_in_threads(*turns: Import) -> list[Exception]:
    """Let a thread with its own connection run each of the imports, all at once, as processes would."""
    return raised_at_once(*[functools.partial(importing.run, accepted.pk) for accepted in turns], expected=Exception)


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_end_in_the_union_of_their_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 50)
    monkeypatch.setattr(importing, "_one_at_a_time", Process())
    newsletter = cast.make_newsletter()
    first = accept("email,name\n" + many(400), newsletter)
    second = accept("email,name\n" + "".join(reversed(many(400, 200).splitlines(keepends=True))), newsletter)
    assert run_in_threads(first, second, first, second) == []
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("done", "done")
    assert first.added + second.added == Subscription.objects.count() == ConsentEvent.objects.count() == 600
    assert first.already_present + second.already_present == 200
    assert not ImportRowError.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_workers_that_all_believe_to_have_the_lease_count_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 20)
    monkeypatch.setattr(importing, "_one_at_a_time", Process())
    # Each lease ends as soon as it begins, so that every worker takes the same import.
    monkeypatch.setattr(importing, "LEASE", timedelta(microseconds=-1))
    accepted = accept("email,name\n" + (many(8) + "nobody,\n" + many(11)) * 2 + many(300))
    while accepted.state in ("queued", "running"):
        assert run_in_threads(*[accepted] * 4) == []
        accepted.refresh_from_db()
    assert (accepted.state, accepted.cursor, accepted.total) == ("done", 340, 340)
    assert counts(accepted) == {"added": 300, "duplicates": 38, "invalid": 2}
    assert Subscription.objects.count() == Subscriber.objects.count() == ConsentEvent.objects.count() == 300
