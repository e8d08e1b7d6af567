"""JSON that is ambiguous, lossy or hostile, sent to every operation that takes a body (J): 4xx, nothing stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.fixtures import Api, code_of, row_counts
from tests.api.operations import ALL, DOCUMENT, Operation, make_ids

pytestmark = pytest.mark.django_db
WITH_JSON = [one for one in ALL if "application/json" in one.details.get("requestBody", {}).get("content", {})]
# What stands in place of a value, and the code it is refused with.
VALUES: dict[str, tuple[bytes, str]] = {
    "J5 deep": (b'{"x":' * 800 + b"1" + b"}" * 800, "too_deep"),
    "J5 deep list": (b"[" * 800 + b"]" * 800, "too_deep"),
    "J7 NUL": (rb'"a\u0000b"', "control_character"),
    "J7 NUL in a key": (rb'{"\u0000": 1}', "control_character"),
    "J10 half a pair": (rb'"\ud800"', "lone_surrogate"),
    "J10 half a pair in a key": (rb'{"\udc00": 1}', "lone_surrogate"),
    "J10 pair in the wrong order": (rb'"\udc00\ud800"', "lone_surrogate"),
    "J13 equal keys": (b'{"a": 1, "a": 2}', "duplicate_key"),
    "J13 equal keys by escape": (rb'{"a": 1, "\u0061": 2}', "duplicate_key"),
    "J14 not a number": (b"NaN", "number_not_finite"),
    "J14 infinity": (b"-Infinity", "number_not_finite"),
    "J14 1e999": (b"1e999", "number_not_finite"),
    "J16 5,000 digits": (b"1" * 5000, "number_too_large"),
    "J16 20 digits": (b"9" * 20, "number_too_large"),
    "many keys": (json.dumps({str(number): 1 for number in range(1001)}).encode(), "too_many_keys"),
}
# Whole bodies.
BODIES: dict[str, tuple[bytes, tuple[int, str]]] = {
    "J2 open": (b"{", (400, "invalid_json")),
    "J2 more behind it": (b"{} x", (400, "invalid_json")),
    "J2 two": (b"{}{}", (400, "invalid_json")),
    "J2 apostrophes": (b"{'a': 1}", (400, "invalid_json")),
    "J2 comment": (b"{} // x", (400, "invalid_json")),
    "J2 comma": (b'{"a": 1,}', (400, "invalid_json")),
    "J3 null": (b"null", (422, "object_expected")),
    "J3 list": (b"[]", (422, "object_expected")),
    "J3 text": (b'"x"', (422, "object_expected")),
    "J3 number": (b"5", (422, "object_expected")),
    "J4 brackets": (b"[" * 100_000, (400, "invalid_json")),
    "J4 braces": (b'{"a":' * 100_000, (400, "invalid_json")),
    "J8 raw NUL": (b'{"a": "\0"}', (400, "invalid_json")),
    "J8 raw line end": (b'{"a": "\n"}', (400, "invalid_json")),
    "J11 no UTF-8": (b'{"a": "\xff\xfe"}', (400, "invalid_json")),
    "J11 overlong": (b'{"a": "\xc0\xaf"}', (400, "invalid_json")),
    "J11 encoded surrogate": (b'{"a": "\xed\xa0\x80"}', (400, "invalid_json")),
    "J12 UTF-16": ("{}".encode("utf-16"), (400, "invalid_json")),
    "J12 UTF-16 without a mark": ("{}".encode("utf-16-be"), (400, "invalid_json")),
    "J12 UTF-32": ("{}".encode("utf-32"), (400, "invalid_json")),
    "J12 byte order mark": (b"\xef\xbb\xbf{}", (400, "invalid_json")),
    "J23 3 MB": (b'{"a": "' + b"a" * 3_000_000 + b'"}', (413, "body_too_large")),
}
# J18: what is not taken for a value of a type.
WRONG: dict[type, list[Any]] = {
    str: [1, True, 1.5, {}, [[]], ["x"]],
    int: ["1", True, 2.0, {}, [1]],
    float: ["1", True, {}, [1]],
    bool: [1, 0, "false", {}],
    list: ["x", 7, {}, [7], [["x"]]],
    dict: ["x", 7, [], True],
}
# J20: what only the service decides.
OURS = ["id", "newsletter_id", "publisher_id", "is_admin", "created_at", "verified", "__proto__", "emial"]


def call(api: Api, operation: Operation, ids: dict[str, str], raw: bytes, **more: Any) -> Any:
    return api.send(operation.method, operation.path.format(**ids), raw=raw, **more)


def example_of(operation: Operation) -> dict[str, Any]:
    schema = operation.details["requestBody"]["content"]["application/json"]["schema"]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"][0]
    return found


def with_value(operation: Operation, value: bytes) -> bytes:
    """Return the operation's own example with a hostile value in its first field."""
    body = example_of(operation)
    first = next(iter(body))
    rest = {name: one for name, one in body.items() if name != first}
    return b'{"' + first.encode() + b'": ' + value + (b", " + json.dumps(rest).encode()[1:] if rest else b"}")


@pytest.mark.parametrize("operation", WITH_JSON, ids=lambda one: one.name)
def test_a_value_that_is_no_clean_json_is_refused(operation: Operation, api: Api) -> None:
    ids = make_ids(api.publisher)
    before = row_counts()
    seen = {}
    for name, (value, _code) in VALUES.items():
        answer = call(api, operation, ids, with_value(operation, value))
        seen[name] = code_of(answer)
    assert seen == {name: (422, code) for name, (_value, code) in VALUES.items()}
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_JSON, ids=lambda one: one.name)
def test_a_body_that_is_no_clean_json_is_refused(operation: Operation, api: Api) -> None:
    ids = make_ids(api.publisher)
    before = row_counts()
    seen = {name: code_of(call(api, operation, ids, raw)) for name, (raw, _expected) in BODIES.items()}
    assert seen == {name: expected for name, (_raw, expected) in BODIES.items()}
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_JSON, ids=lambda one: one.name)
def test_a_field_that_is_ours_or_nobodys_is_refused(operation: Operation, api: Api) -> None:
    ids = make_ids(api.publisher)
    before = row_counts()
    for name in OURS:
        answer = call(api, operation, ids, json.dumps(example_of(operation) | {name: 1}).encode())
        assert code_of(answer) == (422, "unknown_field"), name
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{name}"]
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_JSON, ids=lambda one: one.name)
def test_no_value_is_taken_for_one_of_another_type(operation: Operation, api: Api) -> None:
    ids = make_ids(api.publisher)
    before = row_counts()
    body = example_of(operation)
    for name, value in body.items():
        # A rate may be a fraction, though its example is none.
        for other in WRONG[float if name == "max_rate" else type(value)]:
            answer = call(api, operation, ids, json.dumps(body | {name: other}).encode())
            assert answer.status_code == 422, (name, other, answer.content)
    assert row_counts() == before


@pytest.mark.parametrize("operation", WITH_JSON, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json",
        "application/xml",
    ],
)
def test_json_that_is_not_called_so_is_415(operation: Operation, api: Api, content_type: str) -> None:
    ids = make_ids(api.publisher)
    before = row_counts()
    raw = json.dumps(example_of(operation)).encode()
    answer = call(api, operation, ids, raw, content_type=content_type)
    assert code_of(answer) == (415, "media_type_not_supported")
    compressed = call(api, operation, ids, raw, Content_Encoding="br")
    assert code_of(compressed) == (415, "content_encoding_not_supported")
    assert row_counts() == before


def test_there_are_operations_to_attack() -> None:
    assert len(WITH_JSON) >= 10
