from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from newsletters.delivery import destinations
from newsletters.delivery.pacing import Reports
from newsletters.models import Destination
from tests.api.fixtures import Api, ask, code_of, pointers_of, row_counts

pytestmark = pytest.mark.django_db
NEW = {"domain": "Example.ORG", "max_concurrency": 2}


def close(api: Api, domain: str) -> str:
    """Close a domain as a worker does; return its id."""
    destinations.exchange([], Reports(closures=[((api.publisher.pk, domain), "421 4.7.0 Slow down, ada@example.org")]))
    return Destination.objects.get(publisher=api.publisher, domain=domain).uid


def test_a_domain_is_limited_before_there_is_trouble(api: Api) -> None:
    made = ask(api.post("/destinations", NEW), 201)
    assert made == {
        "id": made["id"],
        "domain": "example.org",
        "max_concurrency": 2,
        "effective_limit": 2,
        "window": None,
        "closed": False,
        "closed_until": None,
        "closed_seconds": 0,
        "last_reply": "",
        "last_closed_at": None,
        "created_at": made["created_at"],
        "updated_at": made["updated_at"],
    }
    assert ask(api.get(f"/destinations/{made['id']}")) == made


def test_a_closed_domain_says_until_when_and_why(api: Api) -> None:
    shown = ask(api.get(f"/destinations/{close(api, 'example.org')}"))
    assert (shown["closed"], shown["closed_seconds"]) == (True, 300)
    assert shown["closed_until"] > shown["last_closed_at"]
    assert shown["last_reply"] == "421 4.7.0 Slow down, …"
    assert (shown["max_concurrency"], shown["effective_limit"]) == (None, 20)


def test_a_closure_that_has_ended_shows_no_end(api: Api) -> None:
    path = f"/destinations/{close(api, 'example.org')}"
    Destination.objects.update(closed_until="2020-01-01T00:00:00Z")
    shown = ask(api.get(path))
    assert (shown["closed"], shown["closed_until"], shown["closed_seconds"]) == (False, None, 300)


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"domain": "localhost"}, "invalid_domain", "/domain"),
        ({"domain": "ada@example.org"}, "invalid_domain", "/domain"),
        ({"domain": "exa mple.org"}, "invalid_domain", "/domain"),
        ({"domain": " example.org"}, "invalid_domain", "/domain"),
        ({"domain": "[192.0.2.1]"}, "invalid_domain", "/domain"),
        ({"domain": "a..org"}, "invalid_domain", "/domain"),
        ({"domain": f"{'a.' * 126}org"}, "too_long", "/domain"),
        ({"domain": ""}, "too_short", "/domain"),
        ({"domain": "a\r\n.org"}, "control_character", "/domain"),
        ({"max_concurrency": 0}, "out_of_range", "/max_concurrency"),
        ({"max_concurrency": 1001}, "out_of_range", "/max_concurrency"),
        ({"max_concurrency": "2"}, "wrong_type", "/max_concurrency"),
        ({"max_concurrency": 2.0}, "wrong_type", "/max_concurrency"),
        ({"closed": True}, "unknown_field", "/closed"),
    ],
)
def test_a_domain_with_a_wrong_value_is_not_limited(api: Api, changes: dict[str, Any], code: str, pointer: str) -> None:
    before = row_counts()
    answer = api.post("/destinations", NEW | changes)
    assert (code_of(answer), pointers_of(answer)) == ((422, code), {pointer})
    assert row_counts() == before


def test_a_domain_in_other_scripts_is_kept_in_a_labels(api: Api) -> None:
    assert ask(api.post("/destinations", NEW | {"domain": "BÜCHER.com"}), 201)["domain"] == "xn--bcher-kva.com"


def test_a_domain_is_listed_once_by_a_publisher(api: Api, make_api: Callable[..., Api]) -> None:
    close(api, "example.org")
    answer = api.post("/destinations", NEW)
    assert code_of(answer) == (409, "destination_exists")
    assert Destination.objects.get().uid in answer.content.decode()
    ask(make_api().post("/destinations", NEW), 201)


def test_opening_a_domain_now_keeps_its_limit_and_forgets_its_closures(api: Api) -> None:
    path = f"/destinations/{close(api, 'example.org')}"
    ask(api.patch(path, {"max_concurrency": 3}))
    shown = ask(api.patch(path, {"closed": False}))
    assert (shown["closed"], shown["closed_until"], shown["closed_seconds"]) == (False, None, 0)
    assert shown["effective_limit"] == 3
    assert shown["last_closed_at"] is not None


def test_a_limit_is_changed_and_taken_away_without_opening_a_closed_domain(api: Api) -> None:
    path = f"/destinations/{close(api, 'example.org')}"
    shown = ask(api.patch(path, {"max_concurrency": 1}))
    assert (shown["max_concurrency"], shown["effective_limit"], shown["closed"]) == (1, 1, True)
    after = ask(api.patch(path, {"max_concurrency": None}))
    assert (after["max_concurrency"], after["effective_limit"], after["closed"]) == (None, 20, True)
    assert after["updated_at"] > shown["updated_at"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({}, ""),
        ({"closed": True}, "/closed"),
        ({"closed": None}, "/closed"),
        ({"closed": 0}, "/closed"),
        ({"domain": "example.net"}, "/domain"),
        ({"max_concurrency": -1}, "/max_concurrency"),
    ],
)
def test_a_change_to_anything_else_is_refused(api: Api, changes: dict[str, Any], pointer: str) -> None:
    path = f"/destinations/{close(api, 'example.org')}"
    before = ask(api.get(path))
    answer = api.patch(path, changes)
    assert answer.status_code == 422
    assert pointers_of(answer) == ({pointer} if pointer else set())
    assert ask(api.get(path)) == before


def test_a_forgotten_domain_is_gone(api: Api) -> None:
    path = f"/destinations/{close(api, 'example.org')}"
    ask(api.delete(path), 204)
    assert code_of(api.get(path)) == (404, "not_found")
    assert not Destination.objects.exists()


def test_destinations_are_listed_the_newest_first_and_by_whether_they_are_closed(api: Api) -> None:
    made = [ask(api.post("/destinations", NEW | {"domain": f"d{n}.example.org"}), 201)["id"] for n in range(3)]
    closed = [close(api, f"c{n}.example.org") for n in range(3)]
    assert [row["id"] for row in api.items("/destinations?limit=2")] == (made + closed)[::-1]
    assert [row["id"] for row in api.items("/destinations?limit=2&closed=true")] == closed[::-1]
    assert [row["id"] for row in api.items("/destinations?closed=false")] == made[::-1]
    assert code_of(api.get("/destinations?closed=1")) == (422, "not_one_of")


def test_workers_learn_what_a_person_changed(api: Api) -> None:
    path = f"/destinations/{close(api, 'example.org')}"
    ask(api.patch(path, {"closed": False, "max_concurrency": 4}))
    (known,) = destinations.exchange([api.publisher.pk], Reports()).destinations
    assert (known.max_concurrency, known.closed_for, known.closed_seconds) == (4, 0, 0)
