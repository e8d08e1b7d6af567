from __future__ import annotations

import contextlib
import time

import pytest

from core.errors import InvalidError
from newsletters.publishing.merge_tags import Tag, mark, parse


def refusal(text: str, *, links: bool = True) -> InvalidError:
    with pytest.raises(InvalidError) as raised:
        parse(text, pointer="/body", links=links)
    assert raised.value.errors[0].pointer == "/body"
    return raised.value


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("{{ subscriber.name }}", Tag("subscriber.name")),
        ("{{subscriber.name}}", Tag("subscriber.name")),
        ('{{ subscriber.name | default: "reader" }}', Tag("subscriber.name", "reader")),
        ("{{ subscriber.name|default:'dear \"friend\"' }}", Tag("subscriber.name", 'dear "friend"')),
        ('{{ subscriber.favourite_colour2 | default: "" }}', Tag("subscriber.favourite_colour2")),
        ("{{ subscriber.email }}", Tag("subscriber.email")),
        ("{{ newsletter.name }}", Tag("newsletter.name")),
        ("{{ unsubscribe_url }}", Tag("unsubscribe_url")),
    ],
)
def test_a_known_tag_is_read(text: str, tag: Tag) -> None:
    assert parse(f"a{text}b", pointer="/body", links=True) == ["a", tag, "b"]


@pytest.mark.parametrize(
    "tag",
    [
        "{{ settings.SECRET_KEY }}",
        "{{ unknown }}",
        "{{subscriber.__class__}}",
        "{{ subscriber._x }}",
        "{{ subscriber.name.first }}",
        "{{ subscriber }}",
        "{{ subscriber.Name }}",
        "{{ subscriber.name | upper }}",
        "{{ subscriber.name | default: reader }}",
        '{{ unsubscribe_url | default: "x" }}',
        "{{ newsletter.publisher }}",
        "{{ 7*7 }}",
        "{{ }}",
        "{{{ subscriber.name }}}",
    ],
)
def test_an_unknown_tag_is_refused_by_its_name(tag: str) -> None:
    error = refusal(f"before {tag} after")
    assert error.code == "unknown_tag"
    assert tag.strip("{}").strip() in error.detail


@pytest.mark.parametrize("block", ["{% debug %}", "{% load x %}", "{%", "{% include '/etc/passwd' %}"])
def test_template_blocks_are_refused(block: str) -> None:
    error = refusal(f"before {block} after")
    assert error.code == "unknown_tag"
    assert block in error.detail


@pytest.mark.parametrize("text", ["{{ name", "{{", "{{ subscriber.name }", "{{ a" + "a" * 300 + " }}"])
def test_an_unclosed_tag_is_refused_by_its_beginning(text: str) -> None:
    error = refusal(text)
    assert error.code == "unclosed_tag"
    assert text[:10] in error.detail


def test_the_unsubscribe_link_has_no_place_in_a_subject() -> None:
    assert refusal("{{ unsubscribe_url }}", links=False).code == "unknown_tag"


@pytest.mark.parametrize("text", ["${7*7}", "a }} b", "{ x }", "#{x}", "<%= 1 %>", "100 %"])
def test_other_template_languages_are_plain_text(text: str) -> None:
    assert parse(text, pointer="/body") == [text]


@pytest.mark.parametrize(
    "text",
    ["{{" * 50_000, "{" * 100_000, "{{ " + " " * 100_000, "}}" * 50_000, '{{ subscriber.name | default: "' * 3_000],
)
def test_the_parser_is_linear(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(InvalidError):
        parse(text, pointer="/body")
    assert time.process_time() - started < 0.05


def test_a_text_has_at_most_500_tags() -> None:
    tag = '{{ subscriber.name | default: "x" }} '
    assert len(parse(tag * 500, pointer="/body")) == 1_001
    assert refusal(tag * 501).code == "too_many_tags"
    started = time.process_time()
    assert refusal(tag * 10_000).code == "too_many_tags"
    assert time.process_time() - started < 0.1


def test_no_text_can_hold_a_marker_of_its_own() -> None:
    body = "Hello {{ subscriber.name }}"
    nonce = mark(body, pointer="/body").nonce
    forged = mark(f"{body} {nonce}n0z", pointer="/body")
    assert forged.nonce != nonce
