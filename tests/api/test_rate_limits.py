from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from accounts import rate_limits
from core.models import RateLimit
from tests.api.fixtures import Api, code_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def slow_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour for the whole quota: nothing comes back while a test runs."""
    monkeypatch.setattr(rate_limits, "WINDOW_SECONDS", 3600)


@pytest.fixture
def limits(settings: Settings, slow_refill: None) -> None:
    settings.API_KEY_RATE, settings.API_ADDRESS_RATE = 3, 2


def knock(address: str = "198.51.100.7", method: str = "GET", path: str = "/senders", **headers: str) -> int:
    client = Client(raise_request_exception=False)
    answer = client.generic(method, f"/api/v1{path}", headers=headers, REMOTE_ADDR=address)
    if answer.status_code == 429 and method != "HEAD":
        assert answer["Content-Type"] == "application/problem+json"
        assert json.loads(answer.content)["code"] == "rate_limited"
    assert (answer.status_code in {429, 503}) == ("Retry-After" in answer.headers)
    return answer.status_code


def test_a_key_that_asks_too_often_is_told_when_to_come_back(api: Api, limits: None) -> None:
    answers = [api.get("/senders") for _ in range(4)]
    assert [answer["RateLimit"].partition(";t=")[0] for answer in answers] == [
        '"key";r=2',
        '"key";r=1',
        '"key";r=0',
        '"key";r=0',
    ]
    assert {answer["RateLimit-Policy"] for answer in answers} == {'"key";q=3;w=3600'}
    assert code_of(answers[-1]) == (429, "rate_limited")
    assert 1100 < int(answers[-1]["Retry-After"]) <= 1200


def test_keys_do_not_use_up_one_another_nor_their_address(make_api: Callable[..., Api], limits: None) -> None:
    first = make_api()
    second = make_api(first.publisher)
    for _ in range(4):
        first.get("/senders")
    assert second.get("/senders").status_code == 200
    assert not RateLimit.objects.filter(bucket__startswith="address").exists()


def test_a_refused_key_reads_and_writes_nothing(
    api: Api, limits: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(3):
        api.get("/senders")
    # The key, the bucket, and how long to wait.
    with django_assert_num_queries(3):
        assert api.post("/newsletters", {}).status_code == 429


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"method": "HEAD"},
        {"method": "OPTIONS"},
        {"method": "PROPFIND"},
        {"path": "/nothing"},
        {"path": "/openapi.json"},
        {"path": f"/senders?key=crnt_abcdefgh_{'a' * 43}"},
        {"Authorization": f"Bearer crnt_abcdefgh_{'a' * 43}"},
        {"Authorization": f"Bearer crnt_abcdefgh_{'a' * 43}", "path": "/nothing"},
        {"Authorization": "Basic YTpi", "method": "OPTIONS"},
    ],
    ids=str,
)
def test_whatever_no_key_pays_for_counts_on_the_address(what: dict[str, str], limits: None) -> None:
    assert 429 not in [knock(**what) for _ in range(2)]
    assert [knock(**what), knock()] == [429, 429]
    assert knock("203.0.113.9") == 401


def test_a_good_key_is_heard_where_the_address_has_used_up_its_quota(api: Api, limits: None) -> None:
    assert [knock("127.0.0.1") for _ in range(3)] == [401, 401, 429]
    assert api.get("/senders").status_code == 200


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        (0, "203.0.113.{n}", {401: 2, 429: 4}),
        (1, "203.0.113.{n}, 198.51.100.1", {401: 2, 429: 4}),
        (1, "198.51.100.1, 203.0.113.{n}", {401: 6}),
        (2, "203.0.113.{n}", {401: 2, 429: 4}),
    ],
    ids=["no proxy", "a claim", "different clients", "too few entries"],
)
def test_a_forged_forwarded_address_resets_nothing(
    proxies: int, forwarded: str, seen: dict[int, int], limits: None, settings: Settings
) -> None:
    settings.TRUSTED_PROXY_COUNT = proxies
    statuses = [knock(**{"X-Forwarded-For": forwarded.format(n=number)}) for number in range(6)]
    assert Counter(statuses) == seen


def test_a_network_of_ipv6_addresses_is_one_client(limits: None) -> None:
    assert [knock(f"2001:db8:1:2::{number}") for number in (1, 2, 3)] == [401, 401, 429]
    assert knock("2001:db8:1:3::1") == 401


def test_no_limit_costs_no_statement_and_shows_no_header(
    api: Api, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.API_KEY_RATE = settings.API_ADDRESS_RATE = 0
    api.get("/senders")
    with django_assert_num_queries(2):
        answer = api.get("/senders")
    assert not {name for name in answer.headers if name.startswith("RateLimit")}
    assert not RateLimit.objects.exists()


def test_health_and_pages_are_not_counted(limits: None) -> None:
    client = Client()
    assert {client.get("/healthz", REMOTE_ADDR="198.51.100.7").status_code for _ in range(5)} == {200}
    assert {client.get("/account/login/", REMOTE_ADDR="198.51.100.7").status_code for _ in range(5)} == {200}


def test_a_database_that_is_away_is_503(limits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OperationalError

    monkeypatch.setattr(rate_limits, "take", fail)
    assert knock() == 503


@pytest.mark.django_db(transaction=True)
def test_fifty_threads_get_exactly_the_quota(
    make_api: Callable[..., Api], settings: Settings, slow_refill: None
) -> None:
    settings.API_KEY_RATE = 20
    api = make_api()
    together = threading.Barrier(50)

    def ask(_number: int) -> int:
        together.wait()
        try:
            return int(Api(api.publisher, api.key).get("/senders").status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(ask, range(50))) == {200: 20, 429: 30}
