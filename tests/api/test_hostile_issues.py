"""Subjects and bodies that could harm a mail or its reader, by the rows of the list of hostile inputs (S and H)."""

from __future__ import annotations

from typing import Any

import pytest

from newsletters.models import Issue, Newsletter
from tests.api.fixtures import Api, ask, row_counts
from tests.effort import least_effort

pytestmark = pytest.mark.django_db
SUBJECTS: dict[str, list[str]] = {
    "S1 line ends": ["Hi\nBcc: evil@x.co", "Hi\r\nBcc: evil@x.co", "Hi\rBcc: evil@x.co", "Hi\n\n<b>", "\nHi", "Hi\n"],
    "S2 separators": [f"Hi{chr(code)}there" for code in (*range(0x0B, 0x20), 0x85, 0x2028, 0x2029)],
    "S4 encoded words": ["=?utf-8?q?Hi=0ABcc:_x?=", "=?utf-8?q?Hi=0D=0AX?=", "=?utf-8?b?SGk=?=", "=?x"],
    "S5 controls": ["Hi\0", "Hi\x7f", "Hi\x1b[31m"],
    "S8 nothing": ["", " ", "\u00a0", "\u200b", "\u3164", "\u2800"],
    "H8 tags": ["{{ settings.SECRET_KEY }}", "{% debug %}", "{{ unknown }}", "{{ name", "{{subscriber.__class__}}"],
    "too long": ["x" * 256],
}
BODIES: dict[str, list[str]] = {
    "H6 links": [
        '<a href="//evil.example">x</a>',
        '<a href="/relative">x</a>',
        '<a href="mailto:?bcc=evil@x.co">x</a>',
        '<a href="http://127.0.0.1/">x</a>',
        '<a href="http://user:pw@evil.example">x</a>',
        '<a href="ftp://evil.example">x</a>',
        '<img src="//evil.example/a.png">',
        '<img src="http://127.0.0.1/a.png">',
        '<img src="http://169.254.169.254/latest/">',
        '<img src="/a.png">',
    ],
    "H8 tags": [
        "{{ settings.SECRET_KEY }}",
        "{% debug %}",
        "{{ unknown }}",
        "{{ name",
        "{{ subscriber.__class__ }}",
        "{{ subscriber.name | upper }}",
        "<p style='color: {{ subscriber.colour }}'>x</p>",
    ],
    "H13 broken text": ["a\0b", "a\x1bb", "a\x0bb", "\x85"],
}
REMOVED = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="jav&#x09;ascript:alert(1)">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '<a href="vbscript:alert(1)">x</a>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=evil></object><embed src=evil>",
    '<base href="https://evil.example"><meta http-equiv=refresh content="0;url=https://evil.example">',
    '<form action="https://evil.example"><input name=a></form>',
    '<link rel=stylesheet href="https://evil.example"><style>@import "https://evil.example";</style>',
    '<p style="position:fixed;background:url(javascript:alert(1));width:expression(alert(1))">x</p>',
    '<p id="cookie" name="submit">x</p>',
]
ACTIVE = ("<script", "onerror", "onload", "javascript", "vbscript", "data:", "<iframe", "<object", "<embed", "<base")
MORE_ACTIVE = ("<meta http-equiv=", "<form", "<input", "<link", "@import", "position", "expression", 'id="cookie"')


@pytest.fixture
def path(newsletter: Newsletter) -> str:
    return f"/newsletters/{newsletter.uid}/issues"


def refused(api: Api, path: str, pointer: str, **fields: str) -> None:
    answer = api.post(path, {"subject": "Hi"} | fields)
    assert answer.status_code == 422, (fields, answer.content)
    assert {error["pointer"] for error in answer.json()["errors"]} == {pointer}, fields


@pytest.mark.parametrize("field", ["subject", "preheader"])
@pytest.mark.parametrize("row", SUBJECTS)
def test_a_text_that_no_header_may_carry_is_refused(api: Api, path: str, row: str, field: str) -> None:
    before = row_counts()
    for text in SUBJECTS[row]:
        if (field, text) != ("preheader", "") and (field, row) != ("preheader", "S4 encoded words"):
            refused(api, path, f"/{field}", **{field: text})
    assert row_counts() == before


@pytest.mark.parametrize("field", ["name", "from_name"])
@pytest.mark.parametrize("row", ["S1 line ends", "S2 separators", "S4 encoded words", "S5 controls"])
def test_nor_does_it_become_a_newsletters_name(api: Api, row: str, field: str) -> None:
    good = {"name": "N", "slug": "n", "from_address": "news@gazette.example", "postal_address": "1 Square"}
    before = row_counts()
    for text in SUBJECTS[row]:
        answer = api.post("/newsletters", good | {field: text})
        assert answer.status_code == 422, (text, answer.content)
    assert row_counts() == before


@pytest.mark.parametrize("body_format", ["markdown", "html"])
@pytest.mark.parametrize("row", BODIES)
def test_a_body_that_cannot_be_sent_is_refused(api: Api, path: str, row: str, body_format: str) -> None:
    before = row_counts()
    for body in BODIES[row]:
        # Markdown shows HTML as text, so that there is no link in it.
        if body_format == "html" or not body.startswith("<"):
            refused(api, path, "/body", body=body, body_format=body_format)
    assert row_counts() == before


@pytest.mark.parametrize("link", ["//evil.example", "/relative", "http://127.0.0.1/", "http://u:p@evil.example"])
def test_a_link_in_markdown_is_looked_at_too(api: Api, path: str, link: str) -> None:
    refused(api, path, "/body", body=f"[x]({link})")


@pytest.mark.parametrize("body", REMOVED)
def test_active_content_does_not_reach_the_preview(api: Api, path: str, body: str) -> None:
    # H1 to H5 and H15.
    answer = api.post(path, {"subject": "Hi", "body": f"<p>Hello</p>{body}", "body_format": "html"})
    if answer.status_code == 422:
        assert answer.json()["code"] == "invalid_link"
        return
    html = ask(api.get(f"/issues/{ask(answer, 201)['id']}/preview"))["html"].lower()
    inner = html.partition("<p>hello</p>")[2] or html
    assert [word for word in (*ACTIVE, *MORE_ACTIVE) if word in inner] == []


@pytest.mark.parametrize("body_format", ["markdown", "html"])
@pytest.mark.parametrize(
    "body",
    ["<div>" * 40_000, "<" * 50_000, "[" * 50_000, "> " * 20_000, "*" * 50_000, "a" * (512 * 1024 + 1), "é" * 300_000],
    ids=["H7 nested", "H7 angles", "brackets", "quotes", "stars", "long", "long in bytes"],
)
def test_a_body_made_to_be_slow_is_answered_quickly(api: Api, path: str, body: str, body_format: str) -> None:
    statuses: list[int] = []

    def ask_for_it() -> None:
        answer = api.post(path, {"subject": "Hi", "body": body, "body_format": body_format})
        statuses.append(answer.status_code)

    # An order of magnitude above what it takes: far below what an unguarded sanitiser takes.
    assert least_effort(ask_for_it) < 3
    assert set(statuses) in ({201}, {422})
    assert Issue.objects.count() == statuses.count(201)


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "🎉" * 255},
        {"subject": "é" * 255},
        {"body": ".\n..\n\r\n.\r\na\n" + "x" * 100_000},
        {"body": "مرحبا \u200d 🎉 \u202b"},
        {"body": '<img src="https://example.org/a.png">', "body_format": "html"},
    ],
    ids=["S7 emoji", "S7 accents", "H10 dots and long lines", "H13 right to left", "H12 only an image"],
)
def test_what_is_merely_unusual_is_stored_as_it_came(api: Api, path: str, fields: dict[str, Any]) -> None:
    made = ask(api.post(path, {"subject": "Hi"} | fields), 201)
    shown = ask(api.get(f"/issues/{made['id']}"))
    assert {name: shown[name] for name in fields} == fields
