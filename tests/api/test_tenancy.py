"""The matrix of every operation and every caller who may not, generated from the OpenAPI document.

An operation comes in by being in the document; a route that is not, or whose ids `make_ids` cannot make, fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.db.models.functions import Now

from accounts.models import ApiKey, Scope
from config.api import api as courant
from newsletters.models import Newsletter
from tests import cast
from tests.api.fixtures import Api, ask, code_of, row_counts
from tests.api.operations import ALL, OPERATIONS, WITH_IDS, Operation, make_ids

pytestmark = pytest.mark.django_db
NEIGHBOUR = {"sender": "other@gazette.example", "address": cast.BORIS, "domain": "example.org"}
# Ninja's own pages: the document and its reader, which show nothing of anybody.
OPEN_ROUTES = {"", "openapi.json", "docs"}
# What a draft without an audience answers to some actions, in place of doing them.
DONE = {200, 201, 202, 204, 409, 422}


def limited_to_another(api: Api, make_api: Callable[..., Api]) -> tuple[Api, dict[str, str]]:
    """Return a caller whose key is for one newsletter, and the ids of all that is in the one beside it."""
    own = make_ids(api.publisher)
    beside = make_ids(api.publisher, **NEIGHBOUR)
    newsletter = Newsletter.objects.order_by("pk").first()
    assert newsletter is not None
    assert newsletter.uid == own["newsletter_id"]
    return make_api(api.publisher, newsletters=[newsletter]), beside


def test_every_route_is_in_the_document_and_so_in_the_matrix() -> None:
    routes = {str(pattern.pattern) for pattern in courant.urls[0]} - OPEN_ROUTES
    documented = {re.sub(r"\{(\w+)\}", r"<\1>", one.path).removeprefix("/api/v1/") for one in ALL}
    assert len(routes) > 30
    assert routes == documented


def test_the_document_has_the_operations_that_clients_count_on() -> None:
    assert {one.name for one in ALL} >= {
        "list_newsletters",
        "create_newsletter",
        "create_subscription",
        "create_import",
        "create_issue",
        "send_issue",
        "get_progress",
        "list_deliveries",
        "get_delivery",
        "list_destinations",
        "update_destination",
    }


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_says_what_it_is_and_how_it_refuses(operation: Operation) -> None:
    details = operation.details
    assert details["tags"]
    assert details["summary"]
    assert details["description"]
    assert operation.scope in Scope.values
    assert operation.scope.endswith(":read") == (operation.method == "GET")
    assert details["security"] == [{"KeyBearer": [operation.scope]}]
    declared = {int(status) for status in details["responses"]}
    assert {401, 403} <= declared
    if "{" in operation.path:
        assert 404 in declared
    if "requestBody" in details:
        assert {400, 413, 415, 422} <= declared
    assert all("anyOf" not in parameter["schema"] for parameter in details["parameters"])
    for status, answer in details["responses"].items():
        media_types = set(answer.get("content", {}))
        assert media_types == ({"application/problem+json"} if int(status) >= 400 else media_types)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_key_with_the_one_scope_is_let_in(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api(scopes=(operation.scope,))
    answer = operation.call(api, make_ids(api.publisher))
    assert answer.status_code in DONE, answer.content
    assert answer.status_code in {int(status) for status in operation.details["responses"]}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_unknown_is_shown_or_changes_anything(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api()
    ids, key = make_ids(api.publisher), api.key
    revoked, expired = make_api(api.publisher).key, make_api(api.publisher).key
    ApiKey.objects.filter(prefix=revoked[5:13]).update(revoked_at=Now())
    ApiKey.objects.filter(prefix=expired[5:13]).update(expires_at=Now())
    unknown = key[:-3] + ("AAA" if key[-3:] != "AAA" else "BBB")
    before = row_counts()
    keys = ["", revoked, expired, unknown, key * 160]
    for header in [*(one and f"Bearer {one}" for one in keys), key, f"Basic {key}", f"Bearer {key} {key}"]:
        api.client.defaults["HTTP_AUTHORIZATION"], api.key = header, ""
        answer = operation.call(api, ids)
        assert code_of(answer) == (401, "not_authenticated"), header
        assert answer["WWW-Authenticate"].startswith("Bearer")
    assert row_counts() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_key_in_the_address_is_refused(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api()
    ids = make_ids(api.publisher)
    shown, before = api.key, row_counts()
    for header in (shown, ""):
        api.key = header
        assert code_of(operation.call(api, ids, f"api_key={shown}")) == (401, "key_in_url")
        assert code_of(operation.call(api, ids, f"{shown.replace('_', '%5f')}")) == (401, "key_in_url")
        if "{" in operation.path:
            assert code_of(operation.call(api, dict.fromkeys(ids, shown))) == (401, "key_in_url")
    assert row_counts() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_key_without_the_scope_is_refused(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api(scopes=tuple(scope for scope in cast.ALL_SCOPES if scope != operation.scope))
    ids = make_ids(api.publisher)
    before = row_counts()
    assert code_of(operation.call(api, ids)) == (403, "scope_missing")
    assert row_counts() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_viewer_reads_and_changes_nothing(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api(scopes=tuple(Scope.reading()))
    ids = make_ids(api.publisher)
    before = row_counts()
    answer = operation.call(api, ids)
    if operation.scope in Scope.reading():
        assert operation.method == "GET"
        assert answer.status_code in {200, 422}, answer.content
    else:
        assert code_of(answer) == (403, "scope_missing")
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_IDS)
def test_what_belongs_to_another_publisher_does_not_exist(operation: Operation, make_api: Callable[..., Api]) -> None:
    mine, theirs = make_api(), make_api()
    make_ids(mine.publisher)
    foreign = make_ids(theirs.publisher)
    before = row_counts()
    assert code_of(operation.call(mine, foreign)) == (404, "not_found")
    assert row_counts() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_limited_key_does_not_reach_beyond_its_newsletters(
    operation: Operation, make_api: Callable[..., Api]
) -> None:
    api, beside = limited_to_another(make_api(), make_api)
    before = row_counts()
    answer = operation.call(api, beside)
    if operation.publisher_wide:
        assert code_of(answer) == (403, "key_limited")
    elif "{" in operation.path:
        assert code_of(answer) == (404, "not_found")
    elif answer.status_code != 422:
        assert not {row["id"] for row in ask(answer)["items"]} & set(beside.values())
    assert row_counts() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_limited_key_works_in_its_newsletters(operation: Operation, make_api: Callable[..., Api]) -> None:
    whole = make_api()
    ids = make_ids(whole.publisher)
    make_ids(whole.publisher, **NEIGHBOUR)
    newsletters = list(Newsletter.objects.filter(issues__isnull=False).order_by("pk")[:1])
    answer = operation.call(make_api(whole.publisher, newsletters=newsletters), ids)
    assert answer.status_code in ({403} if operation.publisher_wide else DONE), answer.content


def test_a_limited_key_chooses_no_other_from_address(make_api: Callable[..., Api]) -> None:
    newsletter = cast.make_newsletter()
    api = make_api(newsletter.publisher, newsletters=[newsletter])
    other = cast.make_sender(newsletter.publisher, address="chief@gazette.example")
    path = f"/newsletters/{newsletter.uid}"
    assert code_of(api.patch(path, {"from_address": other.address})) == (403, "key_limited")
    assert ask(api.patch(path, {"name": "The Daily"}))["sender"]["address"] == newsletter.sender.address


@pytest.mark.parametrize("caller", ["another publisher", "a key for another newsletter"])
def test_a_preview_shows_no_foreign_reader(caller: str, make_api: Callable[..., Api]) -> None:
    api = make_api()
    own = make_ids(api.publisher)
    foreign = make_ids(make_api().publisher if caller == "another publisher" else api.publisher, **NEIGHBOUR)
    path = f"/issues/{own['issue_id']}/preview?subscription_id={foreign['subscription_id']}"
    assert code_of(api.get(path)) == (404, "not_found")


@pytest.mark.parametrize("operation", WITH_IDS)
def test_what_is_no_id_is_404(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api()
    names = re.findall(r"\{(\w+)\}", operation.path)
    for junk in ["0", "-1", str(2**63), "9" * 5000, "%00", "nl_", "iss_zzzzzzzzzzzzzzzzzzzzzzzzzz", "dlv_" + "a" * 26]:
        assert code_of(operation.call(api, dict.fromkeys(names, junk))) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/newsletters", "/senders", "/subscribers", "/destinations", "/deliveries?state=held"]
)
@pytest.mark.parametrize("beside", ["another publisher's", "another newsletter's"])
def test_lists_show_the_callers_own_rows_only(path: str, beside: str, make_api: Callable[..., Api]) -> None:
    mine, theirs = make_api(), make_api()
    if beside == "another newsletter's" and path != "/destinations":
        api, foreign = limited_to_another(mine, make_api)
        own = {row["id"] for row in ask(mine.get(path))["items"]} - set(foreign.values())
    else:
        api, foreign = mine, make_ids(theirs.publisher)
        own = set(make_ids(mine.publisher).values())
    shown = {row["id"] for row in ask(api.get(path))["items"]}
    assert shown & own
    assert not shown & set(foreign.values())


def test_a_cursor_of_another_publisher_is_refused(make_api: Callable[..., Api]) -> None:
    mine, theirs = make_api(), make_api()
    for api in (mine, theirs):
        for _ in range(3):
            cast.make_newsletter(api.publisher)
    cursor = ask(theirs.get("/newsletters?limit=2"))["next"]
    assert code_of(mine.get(f"/newsletters?limit=2&cursor={cursor}")) == (400, "invalid_cursor")
