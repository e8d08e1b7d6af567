"""Every operation and {no key, wrong keys, lacking scope, foreign id}, generated from the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db.models.functions import Now

from accounts.models import ApiKey, Scope
from config.api import api as courant
from newsletters.models import Delivery, DeliveryState, Destination, Import, ImportRowError
from tests import cast
from tests.api.fixtures import Api, ask, code_of, row_counts

pytestmark = pytest.mark.django_db
DOCUMENT = courant.get_openapi_schema(path_prefix="/api/v1/")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    details: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.details["operationId"])

    def parameters(self, place: str) -> list[dict[str, Any]]:
        return [one for one in self.details["parameters"] if one["in"] == place and one["required"]]

    def call(self, api: Api, ids: dict[str, str]) -> Any:
        """Call the operation as its own examples show it."""
        path = re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], self.path)
        query = "&".join(f"{one['name']}={one['examples'][0].replace(' ', '+')}" for one in self.parameters("query"))
        headers = {one["name"].replace("-", "_"): one["example"] for one in self.parameters("header")}
        raw, media_type = b"", "application/json"
        if "requestBody" in self.details:
            ((media_type, content),) = self.details["requestBody"]["content"].items()
            raw = content["example"].encode() if "example" in content else b""
        body = None if raw or "requestBody" not in self.details else self.example(content["schema"])
        return api.send(self.method, f"{path}?{query}", body, raw=raw or None, content_type=media_type, **headers)

    @staticmethod
    def example(schema: dict[str, Any]) -> Any:
        return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"][0]


ALL = [
    Operation(method.upper(), path, details)
    for path, methods in DOCUMENT["paths"].items()
    for method, details in methods.items()
]
OPERATIONS = [pytest.param(one, id=one.name) for one in ALL]
WITH_IDS = [pytest.param(one, id=one.name) for one in ALL if "{" in one.path]


@pytest.fixture
def make_ids(make_api: Callable[..., Api]) -> Callable[[Api], dict[str, str]]:
    """Return a maker of one object of each kind, named as the paths name their ids."""

    def make(api: Api) -> dict[str, str]:
        newsletter = cast.make_newsletter(api.publisher)
        reader = cast.make_reader(newsletter)
        issue = cast.make_issue(newsletter)
        imported = Import.objects.create(newsletter=newsletter, consent_source="form")
        ImportRowError.objects.create(audience_import=imported, line=2, code="invalid_address", detail="No.")
        delivery = Delivery.objects.create(issue=issue, subscription=reader, state=DeliveryState.HELD)
        destination = Destination.objects.create(publisher=api.publisher, domain="example.net")
        return {
            "newsletter_id": newsletter.uid,
            "sender_id": newsletter.sender.uid,
            "subscriber_id": reader.subscriber.uid,
            "subscription_id": reader.uid,
            "import_id": imported.uid,
            "issue_id": issue.uid,
            "delivery_id": delivery.uid,
            "destination_id": destination.uid,
        }

    return make


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
    assert details["x-scope"] in Scope.values
    assert details["security"] == [{"KeyBearer": [details["x-scope"]]}]
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
def test_the_owner_with_the_scope_is_let_in(
    operation: Operation, make_api: Callable[..., Api], make_ids: Callable[[Api], dict[str, str]]
) -> None:
    api = make_api()
    ids = make_ids(api)
    narrow = make_api(api.publisher, scopes=(operation.details["x-scope"],))
    answer = operation.call(narrow, ids)
    # 409 and 422: the draft of the cast is not in the state that some actions need.
    assert answer.status_code in {200, 201, 202, 204, 409, 422}, answer.content
    assert answer.status_code in {int(status) for status in operation.details["responses"]}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", ["none", "unknown", "revoked", "expired", "in the address"])
def test_without_a_valid_key_nothing_is_shown_or_changed(
    operation: Operation, fault: str, make_api: Callable[..., Api], make_ids: Callable[[Api], dict[str, str]]
) -> None:
    api = make_api()
    ids = make_ids(api)
    keys = ApiKey.objects.filter(publisher=api.publisher)
    if fault == "none":
        api.key = ""
    elif fault == "unknown":
        api.key = api.key[:-3] + ("AAA" if api.key[-3:] != "AAA" else "BBB")
    elif fault == "revoked":
        keys.update(revoked_at=Now())
    elif fault == "expired":
        keys.update(expires_at=Now())
    else:
        api.client.defaults["QUERY_STRING"], api.key = f"key={api.key}", ""
    before = row_counts()
    answer = operation.call(api, ids)
    assert code_of(answer) == (401, "not_authenticated")
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert row_counts() == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_key_without_the_scope_is_refused(
    operation: Operation, make_api: Callable[..., Api], make_ids: Callable[[Api], dict[str, str]]
) -> None:
    api = make_api()
    ids = make_ids(api)
    others = tuple(scope for scope in cast.ALL_SCOPES if scope != operation.details["x-scope"])
    before = row_counts() | {"ApiKey": 2}
    assert code_of(operation.call(make_api(api.publisher, scopes=others), ids)) == (403, "scope_missing")
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_IDS)
def test_what_belongs_to_another_publisher_does_not_exist(
    operation: Operation, make_api: Callable[..., Api], make_ids: Callable[[Api], dict[str, str]]
) -> None:
    mine, theirs = make_api(), make_api()
    make_ids(mine)
    foreign = make_ids(theirs)
    before = row_counts()
    assert code_of(operation.call(mine, foreign)) == (404, "not_found")
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_IDS)
def test_what_is_no_id_is_404(operation: Operation, make_api: Callable[..., Api]) -> None:
    api = make_api()
    names = re.findall(r"\{(\w+)\}", operation.path)
    for junk in ["0", "-1", str(2**63), "9" * 5000, "%00", "nl_", "iss_zzzzzzzzzzzzzzzzzzzzzzzzzz", "dlv_" + "a" * 26]:
        assert code_of(operation.call(api, dict.fromkeys(names, junk))) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/newsletters", "/senders", "/subscribers", "/destinations", "/deliveries?state=held"]
)
def test_lists_show_the_callers_own_rows_only(
    path: str, make_api: Callable[..., Api], make_ids: Callable[[Api], dict[str, str]]
) -> None:
    mine, theirs = make_api(), make_api()
    own, foreign = make_ids(mine), make_ids(theirs)
    shown = {row["id"] for row in ask(mine.get(path))["items"]}
    assert shown & set(own.values())
    assert not shown & set(foreign.values())


def test_a_cursor_of_another_publisher_is_refused(make_api: Callable[..., Api]) -> None:
    mine, theirs = make_api(), make_api()
    for api in (mine, theirs):
        for _ in range(3):
            cast.make_newsletter(api.publisher)
    cursor = ask(theirs.get("/newsletters?limit=2"))["next"]
    assert code_of(mine.get(f"/newsletters?limit=2&cursor={cursor}")) == (400, "invalid_cursor")
