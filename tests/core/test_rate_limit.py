from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.db.models import F

from core.models import RateLimit
from core.rate_limit import Limit, forget_idle, take
from tests.services.processes import wait_until

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
# An hour for the whole quota: nothing comes back while a test runs.
FIVE = Limit("key", quota=5, window=3600)


def go_back(seconds: float) -> None:
    """Let time pass: what was paid for until a moment was paid for until an earlier one."""
    RateLimit.objects.update(paid_until=F("paid_until") - seconds)


@pytest.mark.django_db
@pytest.mark.dialects
def test_exactly_the_quota_is_let_through() -> None:
    taken = [take("key 1", FIVE) for _ in range(7)]
    assert [one.allowed for one in taken] == [True] * 5 + [False] * 2
    assert [one.remaining for one in taken] == [4, 3, 2, 1, 0, 0, 0]
    assert 700 < taken[-1].retry_after <= 720
    assert taken[-2].full_after == pytest.approx(3600, abs=30)


@pytest.mark.django_db
@pytest.mark.dialects
def test_buckets_do_not_touch_one_another() -> None:
    for _ in range(6):
        take("key 1", FIVE)
    assert take("key 2", FIVE).allowed


@pytest.mark.django_db
@pytest.mark.dialects
def test_a_bucket_is_refilled_evenly() -> None:
    for _ in range(5):
        take("key 1", FIVE)
    go_back(720 * 2 + 1)
    assert [take("key 1", FIVE).allowed for _ in range(3)] == [True, True, False]
    go_back(100 * 3600)
    assert [take("key 1", FIVE).allowed for _ in range(6)] == [True] * 5 + [False]


@pytest.mark.django_db
@pytest.mark.dialects
def test_a_clock_that_was_set_back_shuts_nobody_out() -> None:
    for _ in range(6):
        take("key 1", FIVE)
    go_back(-24 * 3600)
    assert take("key 1", FIVE).allowed


@pytest.mark.django_db
@pytest.mark.dialects
def test_a_refused_request_uses_up_nothing() -> None:
    one = Limit("key", quota=1, window=3600)
    take("key 1", one)
    before = RateLimit.objects.get().paid_until
    assert not take("key 1", one).allowed
    assert RateLimit.objects.get().paid_until == before


@pytest.mark.django_db
@pytest.mark.dialects
def test_only_buckets_that_have_long_been_full_are_forgotten() -> None:
    take("key 1", Limit("key", quota=1))
    go_back(3700)
    take("key 2", Limit("key", quota=1))
    assert forget_idle() == 1
    assert RateLimit.objects.get().bucket == "key 2"


@pytest.mark.django_db
def test_callers_are_told_in_header_fields() -> None:
    first = take("key 1", Limit("key", quota=1, window=1000))
    assert first.headers() == {"RateLimit-Policy": '"key";q=1;w=1000', "RateLimit": '"key";r=0;t=1000'}
    second = take("key 1", Limit("key", quota=1, window=1000)).headers()
    assert second["RateLimit"].startswith('"key";r=0;t=')
    assert 1 <= int(second["Retry-After"]) <= 1000


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once_are_let_through_no_more_than_one_after_another() -> None:
    together = threading.Barrier(50)

    def ask(_number: int) -> int:
        together.wait()
        try:
            return sum(take("key 1", Limit("key", quota=120, window=3600)).allowed for _ in range(5))
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(ask, range(50))) == 120


@pytest.mark.django_db(transaction=True)
def test_those_who_wait_for_one_another_do_not_decide_by_what_they_saw_before() -> None:
    ten = Limit("key", quota=10, window=3600)
    take("key 1", ten)

    def ask(_number: int) -> int:
        try:
            return int(take("key 1", ten).allowed)
        finally:
            connection.close()

    with ThreadPoolExecutor(21) as pool:
        with transaction.atomic():
            take("key 1", ten)
            asking = [pool.submit(ask, number) for number in range(20)]
            wait_until(lambda: pool.submit(waiting).result() == 20, "all wait for the row", seconds=120)
        assert sum(one.result() for one in asking) == 8


def waiting() -> int:
    """Return how many sessions wait for another one's transaction; to be asked outside of one, where it is fresh."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            return int(cursor.fetchone()[0])
    finally:
        connection.close()
