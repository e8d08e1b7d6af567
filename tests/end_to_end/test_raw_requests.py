"""Bytes on gunicorn's own port that no client should send: an error as a problem document, and the service lives on."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.services import editor
from tests.services.site import Site

BODY = b'{"address": "raw@example.org"}'
NEWSLETTERS = b"/api/v1/newsletters"


@pytest.fixture
def site(make_site: Any) -> Site:
    made: Site = make_site("embedded")
    made.start_web()
    return made


def exchange(site: Site, request: bytes, *, end: bool = False) -> bytes:
    """Send bytes and return all that comes back until the server closes; `end` closes our half first."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=300) as link:
        link.sendall(request)
        if end:
            link.shutdown(socket.SHUT_WR)
        received = b""
        while block := link.recv(65_536):
            received += block
        return received


def head(site: Site, line: bytes, *headers: bytes) -> bytes:
    own = [f"Host: 127.0.0.1:{site.port}".encode(), f"Authorization: Bearer {site.key}".encode(), b"Connection: close"]
    return b"\r\n".join([line, *own, *headers, b"", b""])


def problem_of(answer: bytes) -> tuple[int, str]:
    """Return the status and the code of an answer that must be a problem document, and nothing else."""
    top, _, body = answer.partition(b"\r\n\r\n")
    status = int(top.split(b" ", 2)[1])
    assert b"content-type: application/problem+json" in top.lower(), answer
    if b"transfer-encoding: chunked" in top.lower():
        body = body.split(b"\r\n")[1]
    shown = json.loads(body)
    assert shown["status"] == status
    assert set(shown) == {"type", "title", "status", "detail", "code", "errors"}
    return status, str(shown["code"])


def post(site: Site, path: bytes, *headers: bytes, body: bytes = BODY) -> bytes:
    return head(site, b"POST " + path + b" HTTP/1.1", b"Content-Type: application/json", *headers) + body


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked"
IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
# How a body may be framed: headers, body, whether we hang up, and what comes back.
FRAMES: list[tuple[str, list[bytes], bytes, bool, tuple[int, str]]] = [
    ("too short", [b"Content-Length: 5"], BODY, False, (400, "invalid_json")),
    ("too long", [b"Content-Length: 500"], BODY, True, (400, "body_incomplete")),
    ("negative", [b"Content-Length: -5"], BODY, False, (400, "bad_request")),
    ("signed", [b"Content-Length: +30"], BODY, False, (400, "bad_request")),
    ("a word", [b"Content-Length: abc"], BODY, False, (400, "bad_request")),
    ("two lengths", [LENGTH, b"Content-Length: 5"], BODY, False, (400, "bad_request")),
    ("beyond 64 bits", [b"Content-Length: 99999999999999999999999"], BODY, True, (413, "body_too_large")),
    ("3 MB", [b"Content-Length: 3000000"], b"a" * 3_000_000, False, (413, "body_too_large")),
    ("chunks and a length", [LENGTH, CHUNKED], IN_CHUNKS, False, (400, "bad_request")),
    ("chunks", [CHUNKED], IN_CHUNKS, False, (400, "length_required")),
    ("broken chunks", [CHUNKED], b"zz\r\n" + BODY, False, (400, "length_required")),
    ("unknown coding", [b"Transfer-Encoding: gzip"], BODY, False, (400, "bad_request")),
    ("unknown coding in chunks", [b"Transfer-Encoding: br, chunked"], IN_CHUNKS, False, (400, "bad_request")),
    ("an expectation", [LENGTH, b"Expect: 200-ok"], BODY, False, (417, "expectation_failed")),
    ("two types", [LENGTH, b"Content-Type: text/plain"], BODY, False, (400, "bad_request")),
    ("an odd charset", [LENGTH, b"X-A: \xff"], b"\xff" * len(BODY), False, (400, "invalid_json")),
]


def test_a_body_framed_in_an_odd_way_is_refused(site: Site) -> None:
    newsletter = editor.make_newsletter(site)
    path = f"/api/v1/newsletters/{newsletter}/subscriptions".encode()
    seen = {}
    for name, headers, body, end, _expected in FRAMES:
        seen[name] = problem_of(exchange(site, post(site, path, *headers, body=body), end=end))
    assert seen == {name: expected for name, _headers, _body, _end, expected in FRAMES}
    assert site.every(f"/newsletters/{newsletter}/subscriptions") == []


def test_what_is_no_request_is_refused(site: Site) -> None:
    get = b"GET " + NEWSLETTERS
    line = get + b" HTTP/1.1"
    asked: dict[str, bytes] = {
        "another protocol": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        "a method with NUL": head(site, b"GE\x00T /api/v1/newsletters HTTP/1.1"),
        "another version": head(site, get + b" HTTP/9.9"),
        "two hosts": head(site, line, b"Host: evil.example"),
        "a space in a name": head(site, line, b"X A: b"),
        "a folded header": head(site, line, b"X-A: b\r\n c"),
        "NUL in a header": head(site, line, b"X-A: b\x00c"),
        "NUL in the query": head(site, get + b"?limit=\x00 HTTP/1.1"),
        "a raw byte in the path": head(site, b"GET /api/v1/\xff HTTP/1.1"),
    }
    assert {name: problem_of(exchange(site, request)) for name, request in asked.items()} == dict.fromkeys(
        asked, (400, "bad_request")
    )


def test_a_content_type_that_nobody_can_read_is_none(site: Site) -> None:
    # Django would fail on these before any code of ours runs, at every address and also without a key.
    odd = [b"charset*=bogus''x", b"charset*=idna''%41%42", b"a*0*=bogus''x", b"charset=hex", b"charset=undefined"]
    for parameter in odd:
        said = b"Content-Type: application/json; " + parameter
        answer = exchange(site, head(site, b"POST " + NEWSLETTERS + b" HTTP/1.1", said, LENGTH) + BODY)
        assert problem_of(answer) == (415, "media_type_not_supported"), parameter
        for path in (NEWSLETTERS + b"?limit=5", b"/api/v1/openapi.json", b"/account/login/?next=/x"):
            answer = exchange(site, head(site, b"GET " + path + b" HTTP/1.1", said))
            assert answer.startswith(b"HTTP/1.1 200 "), (parameter, path, answer[:500])


def test_no_header_moves_a_request_to_another_address(site: Site) -> None:
    line = b"GET " + NEWSLETTERS + b" HTTP/1.1"
    expected = exchange(site, head(site, line)).partition(b"\r\n\r\n")[2]
    for name in (b"/foo", b"/api", b"/api/v1"):
        answer = exchange(site, head(site, line, b"SCRIPT_NAME: " + name, b"PATH_INFO: /admin/"))
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]
        assert answer.partition(b"\r\n\r\n")[2] == expected


def test_what_is_too_large_is_refused(site: Site) -> None:
    line = b"GET " + NEWSLETTERS + b" HTTP/1.1"
    many = [b"X-A%d: b" % number for number in range(200)]
    assert problem_of(exchange(site, head(site, line, *many))) == (431, "headers_too_large")
    assert problem_of(exchange(site, head(site, line, b"X-A: " + b"a" * 65_536))) == (431, "headers_too_large")
    long = b"GET " + NEWSLETTERS + b"?a=" + b"a" * 1_000_000 + b" HTTP/1.1"
    assert problem_of(exchange(site, head(site, long))) == (414, "address_too_long")


def test_methods_on_the_wire(site: Site) -> None:
    for method in (b"TRACE", b"PROPFIND", b"DELETE", b"OPTIONS", b"BREW"):
        answer = exchange(site, head(site, method + b" " + NEWSLETTERS + b" HTTP/1.1"))
        assert problem_of(answer) == (405, "method_not_allowed")
        assert b"\r\nAllow: GET, HEAD, POST\r\n" in answer
    top, _, body = exchange(site, head(site, b"HEAD " + NEWSLETTERS + b" HTTP/1.1")).partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 200")
    assert body == b""


def test_the_service_lives_on_after_all_that(site: Site) -> None:
    for _ in range(20):
        exchange(site, b"\0" * 10_000 + b"\r\n\r\n")
    assert site.ask("GET", "/newsletters") == {"items": [], "next": None}
