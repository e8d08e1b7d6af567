"""Closures, recoveries and limits of destinations hold for all processes, on the database's clock."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from newsletters.delivery import destinations
from newsletters.delivery.pacing import Key, Known, Reports
from newsletters.models import Destination
from tests.cast import make_publisher

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
REPLY = "421 4.7.0 Slow down."
LONG_AGO = "2020-01-01T00:00:00Z"


def close(key: Key, reply: str = REPLY) -> Known:
    snapshot = destinations.exchange([], Reports(closures=[(key, reply)]))
    (known,) = [known for known in snapshot.destinations if known.key == key]
    return known


def end_closure(key: Key) -> None:
    Destination.objects.filter(publisher_id=key[0], domain=key[1]).update(closed_until=LONG_AGO)


def destination(key: Key) -> Destination:
    return Destination.objects.get(publisher_id=key[0], domain=key[1])


@pytest.fixture
def key() -> Key:
    return make_publisher().pk, "example.org"


def test_a_closure_makes_a_row_that_is_closed_for_300_seconds(key: Key) -> None:
    before = timezone.now()
    known = close(key)
    assert known.max_concurrency is None
    assert known.closed_seconds == 300
    assert 295 < known.closed_for <= 300
    row = destination(key)
    assert (row.last_reply, row.closed_seconds) == (REPLY, 300)
    assert row.last_closed_at is not None
    assert row.closed_until is not None
    assert 299 < (row.closed_until - row.last_closed_at).total_seconds() < 301
    assert abs((row.last_closed_at - before).total_seconds()) < 60


def test_each_further_closure_doubles_until_4000_seconds(key: Key) -> None:
    lengths = []
    for _ in range(6):
        lengths.append(close(key).closed_seconds)
        end_closure(key)
    assert lengths == [300, 600, 1200, 2400, 4000, 4000]
    assert Destination.objects.count() == 1


def test_closures_shrink_with_the_retry_schedule(key: Key, settings: Any) -> None:
    settings.RETRY_SCALE_PERCENT = 1
    lengths = []
    for _ in range(6):
        lengths.append(close(key).closed_seconds)
        end_closure(key)
    assert lengths == [3, 6, 12, 24, 40, 40]


def test_closing_what_is_closed_changes_nothing(key: Key) -> None:
    close(key)
    before = destination(key)
    close(key, "421 another reply")
    after = destination(key)
    assert (after.closed_until, after.closed_seconds, after.last_reply) == (before.closed_until, 300, REPLY)


def test_an_accepted_mail_makes_the_next_closure_short_again(key: Key) -> None:
    close(key)
    end_closure(key)
    snapshot = destinations.exchange([], Reports(recoveries=[key]))
    assert snapshot.destinations == [Known(key, None, 0.0, 0)]
    assert destination(key).closed_until is None
    assert close(key).closed_seconds == 300


def test_a_recovery_in_one_process_does_not_open_what_another_has_closed_again(key: Key) -> None:
    close(key)
    destinations.exchange([], Reports(recoveries=[key]))
    assert destination(key).closed_seconds == 300
    assert destination(key).closed_until is not None


def test_a_recovery_is_written_before_a_closure_of_the_same_second(key: Key) -> None:
    close(key)
    end_closure(key)
    destinations.exchange([], Reports(recoveries=[key], closures=[(key, REPLY)]))
    assert destination(key).closed_seconds == 300


def test_one_publishers_closure_is_not_another_publishers(key: Key) -> None:
    other = make_publisher("The Herald")
    close(key)
    assert destinations.exchange([other.pk], Reports()).destinations == []
    assert destinations.exchange([key[0]], Reports()).publishers == {key[0]}


def test_a_process_learns_limits_and_what_is_not_yet_proven_and_nothing_else(key: Key) -> None:
    publisher = key[0]
    Destination.objects.create(publisher_id=publisher, domain="limited.example", max_concurrency=2)
    Destination.objects.create(publisher_id=publisher, domain="long-ago.example", last_closed_at=LONG_AGO)
    Destination.objects.create(publisher_id=publisher, domain="half-open.example", closed_seconds=600)
    found = {known.key[1]: known for known in destinations.exchange([publisher], Reports()).destinations}
    assert found.keys() == {"limited.example", "half-open.example"}
    assert found["limited.example"].max_concurrency == 2
    assert (found["half-open.example"].closed_for, found["half-open.example"].closed_seconds) == (0, 600)


def test_with_nothing_to_write_an_exchange_is_one_statement(key: Key, django_assert_num_queries: Any) -> None:
    close(key)
    with django_assert_num_queries(1):
        destinations.exchange([key[0]], Reports())
    with django_assert_num_queries(0):
        destinations.exchange([], Reports())


def test_the_window_in_use_is_shown(key: Key) -> None:
    close(key)
    destinations.exchange([key[0]], Reports(windows=[(key, 7), ((key[0], "unknown.example"), 3)]))
    assert destination(key).window == 7
    assert Destination.objects.count() == 1


def test_the_closure_of_a_deleted_publisher_stops_nobody_elses(key: Key) -> None:
    gone = make_publisher("Gone")
    orphan = (gone.pk, "example.com")
    gone.delete()
    destinations.exchange([], Reports(closures=[(orphan, REPLY), (key, REPLY)]))
    assert [row.domain for row in Destination.objects.all()] == ["example.org"]


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        ("421 4.7.0 <ada@example.org> slow down", "421 4.7.0 … slow down"),
        ("421 mail to Ada+x@EXAMPLE.org,boris%40example.net deferred", "421 mail to … deferred"),
        ('450 4.7.1 "ada l"@example.org later', "450 4.7.1 … later"),
        ("421 a\x1b[31m\nb\u202e", "421 a [31m b"),
        ("421 " + "x" * 1000, "421 " + "x" * 496),
    ],
)
def test_the_reply_kept_is_one_printable_line_without_an_address(key: Key, reply: str, kept: str) -> None:
    close(key, reply)
    assert destination(key).last_reply == kept


def test_destinations_untouched_for_30_days_are_forgotten_in_batches(key: Key) -> None:
    publisher = key[0]
    for number in range(3):
        Destination.objects.create(publisher_id=publisher, domain=f"old-{number}.example")
    Destination.objects.create(publisher_id=publisher, domain="limited.example", max_concurrency=1)
    Destination.objects.create(publisher_id=publisher, domain="closed.example")
    Destination.objects.update(updated_at=LONG_AGO)
    Destination.objects.filter(domain="closed.example").update(closed_until="2100-01-01T00:00:00Z")
    Destination.objects.create(publisher_id=publisher, domain="fresh.example")
    assert destinations.forget_unused(2) == 2
    assert destinations.forget_unused(2) == 1
    assert destinations.forget_unused(2) == 0
    left = set(Destination.objects.values_list("domain", flat=True))
    assert left == {"limited.example", "closed.example", "fresh.example"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("closed_before", [False, True])
def test_processes_that_close_a_destination_at_the_same_time_double_once(key: Key, closed_before: bool) -> None:
    if closed_before:
        close(key)
        end_closure(key)
    start = threading.Barrier(4)
    failures: list[BaseException] = []

    def process() -> None:
        try:
            start.wait()
            close(key)
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert destination(key).closed_seconds == (600 if closed_before else 300)
