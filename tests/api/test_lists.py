"""Every list: walked page by page, in both orders, while rows come and go, and with what is no cursor."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import ActorKind, AuditEntry, LoggedRequest
from core.database import database_now
from newsletters.models import ConsentEvent, Delivery, DeliveryState, Destination, Import, ImportRowError, Newsletter
from newsletters.publishing.freezing import freeze
from tests import cast
from tests.api import documented
from tests.api.fixtures import Api, ask, code_of, pointers_of
from tests.api.operations import make_ids

pytestmark = pytest.mark.django_db


def is_list(operation: dict[str, Any]) -> bool:
    return "cursor" in {one["name"] for one in operation["parameters"]}


LISTS = {
    path.removeprefix("/api/v1"): methods["get"]
    for path, methods in documented.DOCUMENT["paths"].items()
    if "get" in methods and is_list(methods["get"])
}
# What a list cannot do without.
NEEDED = {"/deliveries": "state=held"}


@dataclass(frozen=True)
class Shelf:
    """A list with some rows, and a maker of one more."""

    address: str
    add: Callable[[int], object]


def makers(api: Api) -> tuple[dict[str, str], dict[str, Callable[[int], object]]]:
    ids = make_ids(api.publisher)
    newsletter = Newsletter.objects.get(publisher=api.publisher)
    issue, place = newsletter.issues.get(), newsletter.subscriptions.get()
    imported = Import.objects.get(newsletter=newsletter)
    # As whenever there are deliveries.
    freeze(issue, started_at=database_now())

    def reader(number: int) -> Any:
        return cast.make_reader(newsletter, address=f"reader-{number}@example.org")

    def held(number: int) -> object:
        return Delivery.objects.create(issue=issue, subscription=reader(number), state=DeliveryState.HELD)

    return ids, {
        "/newsletters": lambda number: cast.make_newsletter(
            api.publisher, sender=newsletter.sender, slug=f"newsletter-{number}"
        ),
        "/senders": lambda number: cast.make_sender(api.publisher, address=f"news-{number}@gazette.example"),
        "/subscribers": lambda number: cast.make_subscriber(api.publisher, address=f"reader-{number}@example.org"),
        "/newsletters/{newsletter_id}/subscriptions": reader,
        "/subscriptions/{subscription_id}/consent": lambda _number: ConsentEvent.objects.create(
            subscription=place, state="active", source="test"
        ),
        "/newsletters/{newsletter_id}/imports": lambda _number: Import.objects.create(
            newsletter=newsletter, consent_source="form"
        ),
        "/imports/{import_id}/errors": lambda number: ImportRowError.objects.create(
            audience_import=imported, line=number + 3, code="invalid_address", detail="No."
        ),
        "/newsletters/{newsletter_id}/issues": lambda _number: cast.make_issue(newsletter),
        "/issues/{issue_id}/deliveries": held,
        "/deliveries": held,
        "/api-requests": lambda number: LoggedRequest.objects.create(
            publisher=api.publisher,
            api_key=api.publisher.api_keys.get(),
            request_id=f"request-{number}",
            method="GET",
            operation="get_issue",
            status=200,
            milliseconds=1.5,
            at=Now(),
        ),
        "/audit-entries": lambda number: AuditEntry.objects.create(
            publisher=api.publisher,
            actor_kind=ActorKind.SYSTEM,
            actor="courant",
            action="issue.started",
            object_type="issue",
            object_id=f"iss_{number}",
        ),
        "/destinations": lambda number: Destination.objects.create(
            publisher=api.publisher, domain=f"d{number}.example.net"
        ),
    }


@pytest.fixture
def make_shelf(api: Api) -> Callable[..., Shelf]:
    def make(path: str, rows: int = 6) -> Shelf:
        ids, add = makers(api)
        for number in range(rows):
            add[path](number)
        return Shelf(f"{path.format(**ids)}?{NEEDED.get(path, '')}", add[path])

    return make


def walk(api: Api, address: str, **parameters: Any) -> list[str]:
    """Return all rows of a list as text, page by page, after checking the size of each page."""
    query = "".join(f"&{name}={value}" for name, value in parameters.items())
    found: list[str] = []
    cursor = ""
    while True:
        page = ask(api.get(f"{address}{query}{cursor}"))
        found += [json.dumps(row) for row in page["items"]]
        if page["next"] is None:
            return found
        assert len(page["items"]) == parameters.get("limit", 50)
        cursor = f"&cursor={page['next']}"


def test_no_list_is_missing_here(api: Api) -> None:
    assert LISTS.keys() == makers(api)[1].keys()


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_walked_in_both_orders_meeting_every_row_once(
    path: str, api: Api, make_shelf: Callable[..., Shelf]
) -> None:
    address = make_shelf(path).address
    rows = walk(api, address, order="oldest")
    assert len(rows) == len(set(rows)) >= 6
    for limit in (1, 2, 3, len(rows), 200):
        assert walk(api, address, order="oldest", limit=limit) == rows
        assert walk(api, address, order="newest", limit=limit) == rows[::-1]
    [order] = [one for one in LISTS[path]["parameters"] if one["name"] == "order"]
    assert walk(api, address) == walk(api, address, order=order["schema"]["default"])


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_rows_that_are_added_during_a_walk_make_no_other_row_skipped_or_repeated(
    path: str, order: str, api: Api, make_shelf: Callable[..., Shelf]
) -> None:
    shelf = make_shelf(path)
    before = walk(api, shelf.address, order=order)
    seen: list[str] = []
    cursor, number = "", 100
    while True:
        page = ask(api.get(f"{shelf.address}&order={order}&limit=2{cursor}"))
        seen += [json.dumps(row) for row in page["items"]]
        if page["next"] is None:
            break
        cursor, number = f"&cursor={page['next']}", number + 1
        if number < 110:
            shelf.add(number)
    assert len(seen) == len(set(seen))
    assert [row for row in seen if row in before] == before


@pytest.mark.parametrize("path", LISTS)
def test_a_list_counts_nothing_and_asks_as_often_for_many_rows_as_for_few(
    path: str, api: Api, make_shelf: Callable[..., Shelf]
) -> None:
    shelf = make_shelf(path, rows=2)

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            ask(api.get(shelf.address))
        return [query["sql"] for query in queries]

    statements()
    few = statements()
    for number in range(20, 30):
        shelf.add(number)
    many = statements()
    assert len(many) == len(few)
    assert not [one for one in many if "COUNT(" in one.upper()]


@pytest.mark.parametrize("path", LISTS)
def test_what_is_no_cursor_of_this_list_is_refused(path: str, api: Api, make_shelf: Callable[..., Shelf]) -> None:
    address = make_shelf(path).address
    page = ask(api.get(f"{address}&limit=2&order=oldest"))
    cursor = page["next"]
    other = "/senders" if path != "/senders" else "/newsletters"
    for _ in range(2):
        cast.make_sender(api.publisher, address=f"{uuid.uuid4()}@gazette.example")
        cast.make_newsletter(api.publisher, slug=str(uuid.uuid4()))
    foreign = ask(api.get(f"{other}?limit=1&order=oldest"))["next"]
    tampered = [cursor[:-1], cursor + "A", cursor.swapcase(), "", "A" * 32, "0", "%00", base64.b64encode(b"x" * 24)]
    for wrong in [*tampered, foreign, "A" * 5_000]:
        text = wrong if isinstance(wrong, str) else wrong.decode()
        answer = api.get(f"{address}&limit=2&order=oldest&cursor={text}")
        assert code_of(answer) in {(400, "invalid_cursor"), (422, "too_long")}, text
    # The same place in another order would be another place.
    assert code_of(api.get(f"{address}&limit=2&order=newest&cursor={cursor}")) == (400, "invalid_cursor")


TEXTS = {"address": cast.BORIS, "since": "2020-01-01T00:00:00Z", "until": "2090-01-01T00:00:00Z"}


def a_value(name: str, schema: dict[str, Any]) -> str:
    """Return a value of a filter: the first of its enumeration, or a text."""
    named = documented.DOCUMENT["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
    return str(named.get("enum", [TEXTS.get(name, "a")])[0])


FILTERED = [
    (path, one["name"], a_value(one["name"], one["schema"]))
    for path, operation in LISTS.items()
    for one in operation["parameters"]
    if one["in"] == "query" and one["name"] not in ("limit", "cursor", "order") and path not in NEEDED
]


@pytest.mark.parametrize(("path", "name", "value"), FILTERED)
def test_a_cursor_of_a_list_with_another_filter_is_refused(
    path: str, name: str, value: str, api: Api, make_shelf: Callable[..., Shelf]
) -> None:
    address = make_shelf(path).address
    cursor = ask(api.get(f"{address}&limit=1"))["next"]
    answer = api.get(f"{address}&limit=1&{name}={value}&cursor={cursor}")
    # A key of which there is none is looked for before the cursor.
    assert code_of(answer) == ((404, "not_found") if name == "key_id" else (400, "invalid_cursor"))


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        *((f"limit={text}", "limit") for text in ("0", "-1", "201", "1000000000", "abc", "", "1.0", "%00", "9" * 400)),
        *((f"order={text}", "order") for text in ("", "password", "a__b", "-id;drop", "NEWEST", "%00")),
        ("sort=-id", "sort"),
        ("page=2", "page"),
        ("offset=5", "offset"),
        ("_connector=OR", "_connector"),
        ("order=newest&order=oldest", "order"),
    ],
)
def test_what_is_no_parameter_of_a_list_is_422(
    path: str, query: str, pointer: str, api: Api, make_shelf: Callable[..., Shelf]
) -> None:
    address = make_shelf(path, rows=0).address
    answer = api.get(f"{address}&{query}")
    assert answer.status_code == 422
    assert pointers_of(answer) == {pointer}
