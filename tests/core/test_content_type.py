from __future__ import annotations

import time

import pytest

from core.content_type import readable, with_readable_types


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json;",
        "Application/JSON; charset=UTF-8",
        'text/csv;header=present ; charset="utf8"',
        'multipart/form-data; boundary="a b=(c)?"',
        "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
    ],
)
def test_an_ordinary_type_stays_as_it_is(content_type: str) -> None:
    assert readable(content_type) == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset*=bogus''x",
        "application/json; charset*0=utf-8",
        "application/json; a*0*=bogus''x",
        "application/json; charset=hex",
        'application/json; charset="idna"',
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset",
        "application/json; charset=",
        'application/json; charset="utf-8',
        "application/json; charset=\xff",
        "json",
        "; charset=utf-8",
    ],
)
def test_an_odd_type_is_none(content_type: str) -> None:
    assert readable(content_type) == ""


@pytest.mark.parametrize("piece", [" ", ";", "; ", " ;", ";x=y", ";charset=", ';x="', '";x="', '\\\\"', "a/"])
def test_a_long_type_is_read_quickly(piece: str) -> None:
    started = time.process_time()
    readable("a/b" + piece * 8_000 + "*")
    readable('a/b;x="' + piece * 8_000 + "*")
    # A search that looks back and forth would need ages.
    assert time.process_time() - started < 1


def test_the_application_sees_what_can_be_read() -> None:
    application = with_readable_types(lambda environ, _: [environ["CONTENT_TYPE"].encode()])
    given: list[dict[str, str]] = [{"CONTENT_TYPE": "text/csv"}, {"CONTENT_TYPE": "text/csv; charset=hex"}, {}]
    assert [list(application(dict(environ), None)) for environ in given] == [[b"text/csv"], [b""], [b""]]
