"""The last look before the first mail stops what every earlier check let through."""

from __future__ import annotations

import dataclasses

import pytest

from core.errors import InvalidError
from newsletters.delivery import mime
from newsletters.delivery.compose import Part, Template
from newsletters.delivery.mime import build_template
from newsletters.delivery.postcondition import verify
from newsletters.delivery.slots import Context, Slot
from tests.delivery.mail_facts import make_facts

ENCODED_WORD = "=?utf-8?q?Hi=0ABcc:_x@example.org?="


def refused(template: Template, **changed: object) -> str:
    with pytest.raises(InvalidError) as raised:
        verify(template, make_facts(**changed))
    assert raised.value.code == "unsafe_message"
    return raised.value.detail


def replaced(old: bytes, new: bytes) -> Template:
    template = build_template(make_facts())
    parts: list[Part] = [part.replace(old, new) if isinstance(part, bytes) else part for part in template.parts]
    assert parts != list(template.parts)
    return dataclasses.replace(template, parts=tuple(parts))


def test_an_ordinary_mail_passes_with_and_without_tags_in_its_subject() -> None:
    for subject in [("What happened",), ("Dear ", Slot("subscriber.name", Context.TEXT, "reader"))]:
        facts = make_facts(
            subject=subject, reply_to="desk@gazette.example", unsubscribe_mailbox="leave@gazette.example"
        )
        verify(build_template(facts), facts)


@pytest.mark.parametrize(
    "name",
    ["The Weekly of the Printing House Square in London", "x y " * 24, "a" * 100, "Наша еженедельная", "🎉" * 100],
)
def test_a_sender_whose_name_and_address_need_several_lines_passes(name: str) -> None:
    for named in ({"from_name": name}, {"from_name": "", "newsletter_name": name}):
        facts = make_facts(**named, from_address="the-weekly-newsletter@printing-house.example")
        verify(build_template(facts), facts)


@pytest.mark.parametrize("field", ["subject", "from_name", "newsletter_name"])
@pytest.mark.parametrize(
    "value", [ENCODED_WORD, "=?utf-8?q?Hi=0D=0ABcc:_x?=", "=?utf-8?q?Hi=0A=0A<b>?=", "a\x00b", "a\u2028b"]
)
def test_a_text_that_the_filter_should_have_refused_is_stopped_here(field: str, value: str) -> None:
    changed = {field: (value,) if field == "subject" else value}
    refused(build_template(make_facts(**changed)), **changed)


def test_an_encoder_that_lets_an_encoded_word_through_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "header_text", lambda text, **_: text.encode())
    changed = {"subject": (ENCODED_WORD,)}
    assert "Subject" in refused(build_template(make_facts(**changed)), **changed)


def test_an_encoder_that_lets_a_line_end_through_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mime, "header_text", lambda text, **_: text.encode())
    changed = {"subject": ("Hi\r\nBcc: x@example.org",)}
    assert "headers" in refused(build_template(make_facts(**changed)), **changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hello", b"Hel\nlo"),
        (b"Hello", b"Hel\rlo"),
        (b"Hello", b"x" * 999),
        (b"Hello", b"=\r\n.\r\n"),
        (b"Hello", "é".encode()),
        (b"Hello", b"Hallo"),
        (b"\r\nFeedback-ID", b"\r\nBcc: x@example.org\r\nFeedback-ID"),
        (b"\r\nFeedback-ID: ", b"\r\nX-Feedback: "),
        (b"<news@gazette.example>", b"<news@gazette.example>, x@example.org"),
        (b"text/html", b"text/plain"),
        (b"quoted-printable", b"7bit"),
        (b'href=3D"', b'href=3D"https://evil.example/'),
    ],
)  # fmt: skip
def test_any_other_corruption_of_the_mail_is_caught(old: bytes, new: bytes) -> None:
    refused(replaced(old, new))
