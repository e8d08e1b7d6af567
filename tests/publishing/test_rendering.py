from __future__ import annotations

import re

import pytest

from core.errors import InvalidError
from newsletters.delivery.slots import Context, Slot, fill
from newsletters.models import Issue
from newsletters.publishing import rendering
from newsletters.publishing.rendering import Rendered
from tests.cast import make_issue, make_newsletter
from tests.effort import least_effort

pytestmark = pytest.mark.django_db
VALUES = {"subscriber.name": "Ada", "unsubscribe_url": "https://news.example.org/u/T"}


def rendered(body: str, *, body_format: str = "markdown", **fields: str) -> Rendered:
    return rendering.render(make_issue(make_newsletter(), body=body, body_format=body_format, **fields))


def html_of(body: str, *, body_format: str = "markdown", **fields: str) -> str:
    return fill(rendered(body, body_format=body_format, **fields).html, VALUES)


def text_of(body: str, *, body_format: str = "markdown") -> str:
    return fill(rendered(body, body_format=body_format).text, VALUES)


def refusal(**changed: str) -> InvalidError:
    fields = {"subject": "Hello", "preheader": "", "body": "Hello", "body_format": "markdown"}
    with pytest.raises(InvalidError) as raised:
        rendering.check(**(fields | changed))
    (pointer,) = {error.pointer for error in raised.value.errors}
    assert pointer.removeprefix("/") in fields
    return raised.value


def test_markdown_becomes_html_with_tables_images_and_bare_addresses() -> None:
    html = html_of(
        "# One\n\n|a|b|\n|-|-|\n|1|2|\n\n![Alt](https://example.org/x.png) see https://example.org/y\n\n~~old~~"
    )
    for expected in ("One</h1>", "<table", ">1</td>", 'alt="Alt"', 'href="https://example.org/y"', "<s>old</s>"):
        assert expected in html


def test_raw_html_in_markdown_is_shown_not_obeyed() -> None:
    html = html_of("Hi <b>you</b> <script>alert(1)</script>")
    assert "&lt;b&gt;you&lt;/b&gt;" in html
    assert "<script" not in html


def test_the_layout_carries_preheader_postal_address_and_unsubscribe_link() -> None:
    html = html_of("Hello", preheader="A quiet week")
    assert "A quiet week" in html
    assert "1 Printing House Square, London" in html
    assert 'href="https://news.example.org/u/T"' in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="color-scheme"' in html
    assert "max-width: 480px" in html


def test_styles_are_inlined_and_nothing_is_loaded_from_elsewhere() -> None:
    html = html_of("Some `code` and [a link](https://example.org/).\n\n> quoted")
    assert re.search(r'<a href="https://example\.org/" style="[^"]*color', html)
    assert re.search(r'<code style="[^"]*monospace', html)
    assert not re.search(r"<link|<script|@import|url\(", html)


def test_the_text_part_shows_links_code_tables_and_the_footer() -> None:
    text = text_of(
        "# Title\n\nDear {{ subscriber.name }}, see [this](https://example.org/a) and https://example.org/b or "
        "desk@example.org.\n\n- one\n- two\n\n```\na  b\n  c\n```\n\n|x|y|\n|-|-|\n|1|2|\n\n![A heron](https://example.org/h.png)\n"
    )
    assert "Title\n=====\n" in text
    assert "Dear Ada, see this (https://example.org/a) and https://example.org/b or desk@example.org." in text
    assert "* one\n" in text
    assert "a  b\n  c\n" in text
    assert re.search(r"x +y\n1 +2\n", text)
    assert "[A heron]" in text
    assert text.endswith(
        "-- \nThe Weekly\n1 Printing House Square, London\n\nUnsubscribe: https://news.example.org/u/T\n"
    )
    assert "\n\n\n" not in text


def test_each_place_decides_how_a_value_is_written() -> None:
    result = rendered(
        'Hi {{ subscriber.name | default: "you" }} [x](https://example.org/?q={{ subscriber.city }}) '
        "[leave]({{ unsubscribe_url }}) {{ newsletter.name }}"
    )
    contexts = {(piece.field, piece.context, piece.default) for piece in result.html if isinstance(piece, Slot)}
    assert contexts == {
        ("subscriber.name", Context.HTML, "you"),
        ("subscriber.city", Context.URL, ""),
        ("unsubscribe_url", Context.TEXT, ""),
    }
    text = {(piece.field, piece.context) for piece in result.text if isinstance(piece, Slot)}
    assert ("subscriber.name", Context.TEXT) in text
    assert ("subscriber.city", Context.URL) in text
    assert result.merge_fields == ("subscriber.city", "subscriber.name")


def test_a_hostile_value_is_harmless_wherever_it_stands() -> None:
    name = "{{ subscriber.name }}"
    body = f'<p title="{name}">{name}</p><a href="https://example.org/{name}">x</a>'
    result = rendered(body, body_format="html")
    html = fill(result.html, VALUES | {"subscriber.name": '"><img src=x onerror=1>'})
    assert html.count("<img") == 0
    assert 'title="&quot;&gt;&lt;img src=x onerror=1&gt;"' in html
    assert "https://example.org/%22%3E%3Cimg%20src%3Dx%20onerror%3D1%3E" in html


def test_the_newsletters_own_name_is_escaped_once() -> None:
    issue = make_issue(make_newsletter(name="Salt & <Pepper>"), body="From {{ newsletter.name }}")
    result = rendering.render(issue)
    assert "From Salt &amp; &lt;Pepper&gt;" in fill(result.html, VALUES)
    assert "From Salt & <Pepper>" in fill(result.text, VALUES)


@pytest.mark.parametrize(
    "body", ["", "  \n\n ", "<!-- nothing -->", "<script>alert(1)</script>", "<p>&nbsp;</p>", "<p>&#8203;</p>"]
)
def test_an_issue_without_content_cannot_be_rendered(body: str) -> None:
    with pytest.raises(InvalidError) as raised:
        rendered(body, body_format="html")
    assert raised.value.code == "issue_has_no_content"


def test_an_image_alone_is_content() -> None:
    assert "<img" in html_of('<img src="https://example.org/x.png" alt="">', body_format="html")


@pytest.mark.parametrize(
    "body",
    ["مرحبا بالعالم", "\u202eabc", "a\u200db", "\U0001f469\u200d\U0001f4bb", "\U0001d518\U0001d52b", "z\u0301" * 20],
)
def test_any_valid_unicode_reaches_both_bodies_unchanged(body: str) -> None:
    assert body in html_of(body)
    assert body in text_of(body)


def test_a_user_cannot_reach_our_own_template() -> None:
    body = "&#123;&#123; settings.SECRET_KEY &#125;&#125; &#123;% debug %&#125;"
    assert "{{ settings.SECRET_KEY }} {% debug %}" in text_of(body)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("subject", "", "required"),
        ("subject", "   ", "only_spaces"),
        ("subject", "a" * 256, "too_long"),
        ("subject", "Hi\r\nBcc: x@example.org", "control_character"),
        ("subject", "=?utf-8?q?Hi=0ABcc:_x@example.org?=", "encoded_word"),
        ("subject", "{{ unsubscribe_url }}", "unknown_tag"),
        ("subject", "{{ settings.SECRET_KEY }}", "unknown_tag"),
        ("preheader", "a\x85b", "control_character"),
        ("preheader", "a" * 256, "too_long"),
        ("preheader", "{{ nope }}", "unknown_tag"),
        ("body", "a\x00b", "control_character"),
        ("body", "a\ud800b", "control_character"),
        ("body", "a\u2028b", "control_character"),
        ("body", "{{ name", "unclosed_tag"),
        ("body", "{% debug %}", "unknown_tag"),
        ("body", "[x](/relative)", "invalid_link"),
        ("body", "![x](http://127.0.0.1/x.png)", "invalid_link"),
        ("body", "[x]({{ subscriber.site }})", "invalid_link"),
        ("body", "<div>" * 40_000, "markdown_too_complex"),
        ("body", "a\n" * 100_000, "markdown_too_complex"),
        ("body", "x@y.example " * 2_000, "markdown_too_complex"),
        ("body", "a" * (512 * 1024 + 1), "too_long"),
        ("body", "é" * (256 * 1024 + 1), "too_long"),
        ("body", "x" * 5_000_000, "too_long"),
        ("body_format", "mjml", "unknown_body_format"),
    ],
)
def test_what_could_not_be_sent_is_refused_on_save_at_once(field: str, value: str, code: str) -> None:
    assert refusal(**{field: value}).code == code
    assert least_effort(lambda: refusal(**{field: value})) < 0.1


@pytest.mark.parametrize("body", ["<div>" * 40_000, "<" * 50_000])
def test_html_that_exhausts_the_parser_is_refused_on_save(body: str) -> None:
    assert refusal(body=body, body_format="html").code == "html_too_complex"
    assert least_effort(lambda: refusal(body=body, body_format="html")) < 0.1


def test_an_honest_draft_may_still_lack_its_body() -> None:
    rendering.check(subject="Hello", preheader="", body="", body_format="markdown")


@pytest.mark.parametrize("body", [".", "..", "a\r\n.\r\nb", "a\n.\nb", "x" * 100_000, "a\tb"])
def test_lines_that_smtp_minds_are_ordinary_text(body: str) -> None:
    issue = Issue(newsletter=make_newsletter(), subject="Hello", body=body)
    assert body.split(maxsplit=1)[0] in fill(rendering.render(issue).text, VALUES)
