"""Requests that no client should send: 4xx as a problem document, nothing stored."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from newsletters.models import Newsletter
from tests import cast
from tests.api.fixtures import Api, ask, code_of, pointers_of, row_counts
from tests.effort import least_effort

pytestmark = pytest.mark.django_db
GOOD = {"address": cast.ADA, "name": "Ada", "attributes": {"city": "Porto"}}


@pytest.fixture
def path(newsletter: Newsletter) -> str:
    return f"/newsletters/{newsletter.uid}/subscriptions"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b'{"address": "a@b.co"} x', 400),
        (b"{'address': 'a@b.co'}", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'"x"', 422),
        (b"5", 422),
        (b"[" * 100_000, 400),
        (b'{"address": "a@b.co", "attributes": {"x":' + b'{"x":' * 800 + b"1" + b"}" * 802, 422),
        (rb'{"address": "a@b.co", "name": "a\u0000b"}', 422),
        (rb'{"address": "a@b.co", "attributes": {"\u0000": "x"}}', 422),
        (b'{"address": "a@b.co", "name": "a\x00b"}', 400),
        (rb'{"address": "a@b.co", "attributes": {"x": "\ud800"}}', 422),
        (b'{"address": "a@b.co", "name": "\xff\xfe"}', 400),
        (b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), 400),
        (json.dumps(GOOD).encode("utf-16"), 400),
        (b'{"address": "a@b.co", "address": "c@d.co"}', 422),
        (b'{"address": "a@b.co", "attributes": {"x": NaN}}', 422),
        (b'{"address": "a@b.co", "attributes": {"x": 1e999}}', 422),
        (b'{"address": "a@b.co", "attributes": {"x": ' + b"1" * 5000 + b"}}", 422),
        (b'{"address": "' + b"a" * 3_000_000 + b'@b.co"}', 413),
    ],
)
def test_a_body_that_is_not_clean_json_is_refused(api: Api, path: str, body: bytes, status: int) -> None:
    before = row_counts()
    assert api.send("POST", path, raw=body).status_code == status
    assert row_counts() == before


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"emial": "a@b.co"}, "/emial"),
        ({"id": "sub_1"}, "/id"),
        ({"newsletter_id": 2}, "/newsletter_id"),
        ({"is_admin": True}, "/is_admin"),
        ({"state": "active"}, "/state"),
        ({"created_at": "2020-01-01T00:00:00Z"}, "/created_at"),
        ({"address": None}, "/address"),
        ({"address": ""}, "/address"),
        ({"address": " "}, "/address"),
        ({"address": 5}, "/address"),
        ({"address": ["a@b.co"]}, "/address"),
        ({"address": "a" * 300 + "@example.org"}, "/address"),
        ({"address": "a@b.co\r\nBcc: x@y.co"}, "/address"),
        ({"address": "a@b.co,c@d.co"}, "/address"),
        ({"address": "a@localhost"}, "/address"),
        ({"name": "x" * 101}, "/name"),
        ({"name": 5}, "/name"),
        ({"name": "a\u2028b"}, "/name"),
        ({"name": "a\u0085b"}, "/name"),
        ({"name": None}, "/name"),
        ({"attributes": []}, "/attributes"),
        ({"attributes": {"City": "x"}}, "/attributes"),
        ({"attributes": {"city": {"a": 1}}}, "/attributes/city"),
        ({"attributes": {"city": "x" * 1025}}, "/attributes/city"),
        ({"attributes": {f"a{number}": 1 for number in range(65)}}, "/attributes"),
        ({"consent_source": ""}, "/consent_source"),
        ({"consent_source": "x" * 201}, "/consent_source"),
        ({"consent_source": "a\nb"}, "/consent_source"),
    ],
)
def test_a_value_that_does_not_fit_is_named(api: Api, path: str, changes: dict[str, Any], pointer: str) -> None:
    before = row_counts()
    answer = api.post(path, GOOD | changes)
    assert answer.status_code == 422
    assert pointers_of(answer) == {pointer}
    assert row_counts() == before


def test_a_text_that_is_too_long_is_told_in_characters(api: Api, path: str) -> None:
    (error,) = json.loads(api.post(path, GOOD | {"name": "x" * 101}).content)["errors"]
    assert error["detail"] == "Text should have at most 100 characters, not 101."


@pytest.mark.parametrize(
    ("keys", "last", "code"),
    [
        (900, '"b": 1}', "invalid_values"),
        (900, '"b": 1, "b": 1}', "duplicate_key"),
        (120_000, '"b": 1}', "too_many_keys"),
        (120_000, '"b": 1, "b": 1}', "too_many_keys"),
    ],
)
def test_many_keys_are_refused_quickly(api: Api, path: str, keys: int, last: str, code: str) -> None:
    raw = "{" + "".join(f'"a{number}": 1, ' for number in range(keys)) + last

    def refused() -> None:
        answer = api.send("POST", path, raw=raw.encode())
        assert (code_of(answer), len(answer.content) < 10_000) == ((422, code), True)

    assert least_effort(refused) < 1


def test_what_is_left_out_and_needed_is_named(api: Api, path: str) -> None:
    answer = api.post(path, {"name": "Ada"})
    assert code_of(answer) == (422, "required")
    assert pointers_of(answer) == {"/address"}


def test_a_hundred_emoji_fit_into_a_name(api: Api, path: str) -> None:
    assert ask(api.post(path, GOOD | {"name": "🎉" * 100}), 201)["subscriber"]["name"] == "🎉" * 100


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data", "application/json; charset=utf-16"],
)
def test_json_of_another_type_is_refused(api: Api, path: str, content_type: str) -> None:
    before = row_counts()
    answer = api.send("POST", path, GOOD, content_type=content_type)
    assert code_of(answer) == (415, "media_type_not_supported")
    assert row_counts() == before


def test_a_body_of_undeclared_length_is_refused(api: Api, path: str) -> None:
    answer = api.send("POST", path, Transfer_Encoding="chunked")
    assert code_of(answer) == (400, "length_required")


def test_half_a_request_is_refused(api: Api, newsletter: Newsletter, path: str) -> None:
    cast.make_readers(newsletter, 1)
    issue = cast.make_issue(newsletter)
    before = row_counts()
    for address, raw in ((path, json.dumps(GOOD).encode()), (f"/issues/{issue.uid}/send", b"{}")):
        answer = api.client.post(
            f"/api/v1{address}",
            content_type="application/json",
            headers={"Authorization": f"Bearer {api.key}", "Idempotency-Key": "half"},
            **{"CONTENT_LENGTH": "999", "wsgi.input": BytesIO(raw)},  # type: ignore[arg-type]  # WSGI's own names
        )
        assert code_of(answer) == (400, "body_incomplete")
    assert row_counts() == before


def test_compressed_json_is_refused(api: Api, path: str) -> None:
    answer = api.send("POST", path, GOOD, Content_Encoding="gzip")
    assert code_of(answer) == (415, "content_encoding_not_supported")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_by_its_name_is_taken(api: Api, path: str, content_type: str) -> None:
    assert api.send("POST", path, GOOD, content_type=content_type).status_code == 201


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "TRACE", "PROPFIND", "OPTIONS"])
def test_a_method_that_is_not_offered_is_405_with_those_that_are(api: Api, path: str, method: str) -> None:
    answer = api.send(method, path)
    assert code_of(answer) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD, POST"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_a_method_in_a_header_is_ignored(api: Api, newsletter: Newsletter) -> None:
    ask(api.send("GET", f"/newsletters/{newsletter.uid}", X_HTTP_Method_Override="DELETE"))
    ask(api.get(f"/newsletters/{newsletter.uid}"))


@pytest.mark.parametrize(
    "path",
    [
        "/api/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/newsletters",
        "/api/v1/nothing",
        "/api/v1/newsletters/",
        "/api/v1//newsletters",
        "/api/v1/newsletters/..%2f..%2fadmin",
        "/api/v1/newsletters/%00",
        "/api/v1/newsletters/" + "9" * 5000,
    ],
)
def test_an_unknown_address_is_404(api: Api, path: str) -> None:
    assert code_of(api.get(path)) == (404, "not_found")


def test_a_wrong_host_is_400(api: Api) -> None:
    assert code_of(api.send("GET", "/newsletters", Host="evil.example")) == (400, "bad_request")


def test_a_fault_of_ours_is_500_and_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError("the secret plan")

    monkeypatch.setattr("newsletters.api.contract.cut_page", fail)
    answer = api.get("/newsletters")
    assert code_of(answer) == (500, "internal_error")
    assert b"secret" not in answer.content
    assert answer["X-Request-Id"]


@pytest.mark.parametrize("accepted", ["text/html", "application/xml", "*/*"])
def test_answers_are_json_whatever_is_preferred(api: Api, accepted: str) -> None:
    answer = api.send("GET", "/newsletters", Accept=accepted)
    assert answer["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    ("query", "code", "pointer"),
    [
        ("limit=0", "out_of_range", "limit"),
        ("limit=-1", "out_of_range", "limit"),
        ("limit=201", "out_of_range", "limit"),
        ("limit=1000000000", "out_of_range", "limit"),
        (f"limit={'9' * 400}", "out_of_range", "limit"),
        ("limit=abc", "wrong_type", "limit"),
        ("limit=", "wrong_type", "limit"),
        ("limit=1.5", "wrong_type", "limit"),
        ("limit=5.0", "wrong_type", "limit"),
        ("limit=%205", "wrong_type", "limit"),
        ("limit=+5", "wrong_type", "limit"),
        ("limit=1_0", "wrong_type", "limit"),
        ("limit=5%0a", "wrong_type", "limit"),
        ("limit=%D9%A5", "wrong_type", "limit"),
        ("limit=1&limit=2", "repeated_parameter", "limit"),
        ("page=2", "unknown_parameter", "page"),
        ("sort=password", "unknown_parameter", "sort"),
        ("sort=-id;drop", "unknown_parameter", "sort"),
        ("_connector=OR", "unknown_parameter", "_connector"),
        ("state=asleep", "not_one_of", "state"),
        ("search=%00", "control_character", "search"),
        ("search=", "too_short", "search"),
        (f"search={'x' * 255}", "too_long", "search"),
    ],
)
def test_a_query_that_means_nothing_is_named(api: Api, path: str, query: str, code: str, pointer: str) -> None:
    answer = api.get(f"{path}?{query}")
    assert code_of(answer)[0] == 422
    assert [(error["code"], error["pointer"]) for error in json.loads(answer.content)["errors"]] == [(code, pointer)]


@pytest.mark.parametrize(
    "query", ["search=%ff", "search=a%c3", "search=%ed%a0%80", "search=%c0%af", "%ff=1", "limit=%ff"]
)
def test_a_query_that_is_not_utf_8_is_400(api: Api, path: str, query: str) -> None:
    assert code_of(api.get(f"{path}?{query}")) == (400, "invalid_query")


def test_a_thousand_parameters_are_400(api: Api, path: str) -> None:
    assert code_of(api.get(f"{path}?{'&'.join(['a=1'] * 1001)}")) == (400, "bad_request")


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "A" * 32, "%00", "A" * 20_000, "é"])
def test_a_wrong_cursor_is_400(api: Api, path: str, cursor: str) -> None:
    assert code_of(api.get(f"{path}?cursor={cursor}")) == (400, "invalid_cursor")


def test_a_cursor_belongs_to_its_list_and_its_filters(api: Api, newsletter: Newsletter, path: str) -> None:
    cast.make_readers(newsletter, 3)
    cursor = ask(api.get(f"{path}?limit=2&state=active"))["next"]
    ask(api.get(f"{path}?limit=1&state=active&cursor={cursor}"))
    for other in (path, f"{path}?state=pending", "/subscribers", f"/newsletters/{newsletter.uid}/issues"):
        joint = "&" if "?" in other else "?"
        assert code_of(api.get(f"{other}{joint}cursor={cursor}")) == (400, "invalid_cursor")


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "Bearer ", "Bearer crnt_x", "Bearer " + "x" * 10_000])
def test_another_authorization_is_401(api: Api, header: str) -> None:
    api.key = ""
    assert code_of(api.send("GET", "/newsletters", Authorization=header)) == (401, "not_authenticated")


def test_the_document_and_its_page_need_no_key_and_no_other_host(api: Api) -> None:
    api.key = ""
    document = ask(api.get("/openapi.json"))
    assert document["openapi"].startswith("3.1")
    page = api.get("/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "http://" not in page
    assert "https://" not in page
    assert code_of(api.delete("/openapi.json")) == (405, "method_not_allowed")
