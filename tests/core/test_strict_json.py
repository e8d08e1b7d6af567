from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.errors import CourantError
from core.strict_json import MAX_DEPTH, parse_object


def refusal(body: bytes) -> tuple[int, str, str]:
    with pytest.raises(CourantError) as caught:
        parse_object(body)
    pointer = caught.value.errors[0].pointer if caught.value.errors else ""
    return caught.value.status, caught.value.code, pointer


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a": 1} x',
        b"{'a': 1}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": "b\x00c"}',
        b'{"a": "b\nc"}',
        b'{"a": "\xff\xfe"}',
        b'{"a": "\xc0\xaf"}',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        b'{"a": 01}',
        b'{"a": .5}',
        b'{"a": +1}',
        b'{"a": 0x10}',
        b'{"a": 1,}',
        b'{"a": True}',
        b"/* hi */ {}",
    ],
)
def test_what_is_not_json_in_utf8_is_refused(body: bytes) -> None:
    assert refusal(body)[:2] == (400, "invalid_json")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"null", "object_expected", ""),
        (b"[]", "object_expected", ""),
        (b'"x"', "object_expected", ""),
        (b"5", "object_expected", ""),
        (b'{"a": 1, "a": 1}', "duplicate_key", "/a"),
        (b'{"o": {"a/b": 1, "a/b": 2}}', "duplicate_key", "/o/a~1b"),
        (b'{"l": [{}, {"a": 1, "a": {}}]}', "duplicate_key", "/l/1/a"),
        (b'{"a": 1, "a": 2, "a": 3}', "duplicate_key", "/a"),
        (b'{"a": NaN}', "number_not_finite", ""),
        (b'{"a": -Infinity}', "number_not_finite", ""),
        (b'{"a": 1e999}', "number_not_finite", ""),
        (b'{"a": ' + b"9" * 5000 + b"}", "number_too_large", ""),
        (b'{"a": 99999999999999999999}', "number_too_large", ""),
        (rb'{"a": "b\u0000c"}', "control_character", "/a"),
        (rb'{"a": {"\u0000": 1}}', "control_character", "/a"),
        (rb'{"a": ["x", "\ud800"]}', "lone_surrogate", "/a/1"),
        (rb'{"\udfff": 1}', "lone_surrogate", ""),
    ],
)
def test_json_that_nobody_could_mean_is_refused_with_a_pointer(body: bytes, code: str, pointer: str) -> None:
    assert refusal(body) == (422, code, pointer)


def test_values_may_be_nested_32_levels_deep_and_no_deeper() -> None:
    def nested(levels: int) -> bytes:
        return b'{"a":' * levels + b"1" + b"}" * levels

    assert parse_object(nested(MAX_DEPTH))
    assert refusal(nested(MAX_DEPTH + 1))[:2] == (422, "too_deep")
    assert refusal(nested(800))[:2] == (422, "too_deep")


def test_every_other_object_arrives_as_it_was_sent() -> None:
    sent = {"text": "é 🎉 שלום", "big": 9007199254740993, "small": -1.5e-7, "list": [True, None, {"x": []}]}
    assert parse_object(json.dumps(sent).encode()) == sent
    assert parse_object(json.dumps(sent, ensure_ascii=False).encode()) == sent


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON: st.SearchStrategy[Any] = st.deferred(
    lambda: SCALARS | st.lists(JSON, max_size=4) | st.dictionaries(st.text(), JSON, max_size=4)
)


def read(body: bytes) -> dict[str, Any] | int:
    try:
        return parse_object(body)
    except CourantError as error:
        return error.status


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
@example(rb'{"a": "\ud83d\ude00"}')
def test_any_body_is_an_object_that_survives_utf8_or_a_refusal(body: bytes) -> None:
    found = read(body)
    if isinstance(found, dict):
        assert json.loads(json.dumps(found, ensure_ascii=False, allow_nan=False).encode()) == found
    else:
        assert found in (400, 422)


def test_many_values_far_down_are_read_in_little_memory() -> None:
    # The pointer to each of them is 1,800 characters long.
    body = b'{"' + b"a" * 60 + b'":'
    body = body * 30 + b"[" + b"1," * 200_000 + b'"\\u0000"' + b"]" + b"}" * 30
    tracemalloc.start()
    try:
        status, code, pointer = refusal(body)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (status, code, pointer) == (422, "control_character", f"/{'a' * 60}" * 30 + "/200000")
    assert most < 50_000_000
