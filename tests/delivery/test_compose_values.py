"""Readers' values and hostile texts in composed mails."""

from __future__ import annotations

import html
import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import compat32, default
from email.utils import parseaddr
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletters.delivery.mime import build_template
from newsletters.delivery.slots import ADDRESS_FIELD, Context, Slot, clean
from tests.delivery.mail_facts import (
    assert_well_formed,
    compose,
    decoded,
    make_facts,
    make_recipient,
    parse,
)

LONG_EMOJI = "\U0001f642" * 255
LONG_ACCENTS = "é" * 255
SMUGGLING = [
    "\r\n.\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r.\r",
    "\r\n.\n",
    "\r\n.\r\nMAIL FROM:<x@example.org>\r\nRCPT TO:<y@example.org>\r\nDATA\r\n",
    ".",
    "..",
    "\r",
    "\n",
    "x" * 100_000,
    "From here on",
    "a \t \n b ",
    "--=_boundary",
    "=\r\n=3D=0A",
    "\x00",
]


@pytest.mark.parametrize(
    "missing", [{}, {"subscriber.name": ""}, {"subscriber.name": " \t\n"}, {"subscriber.name": None}]
)
def test_a_missing_or_empty_value_gives_the_default(missing: dict[str, str]) -> None:
    mail = build_template(make_facts()).compose(make_recipient(merge=missing))
    assert decoded(mail, "plain").startswith("Hello reader\r\n")


def test_values_are_written_for_their_place() -> None:
    slots = [Slot("subscriber.x", context) for context in (Context.HTML, Context.URL, Context.TEXT)]
    template = build_template(
        make_facts(html=('<p title="', slots[0], '">', '<a href="https://a.example/?q=', slots[1], '">'))
    )
    mail = template.compose(make_recipient(merge={"subscriber.x": "\"><img src=x onerror=1> & 'é"}))
    assert decoded(mail, "html") == (
        '<p title="&quot;&gt;&lt;img src=x onerror=1&gt; &amp; &#x27;é">'
        '<a href="https://a.example/?q=%22%3E%3Cimg%20src%3Dx%20onerror%3D1%3E%20%26%20%27%C3%A9">'
    )


@pytest.mark.parametrize("value", [7, 2.5, True, ["a"], {"a": 1}])
def test_a_stored_value_that_is_no_text_never_stops_a_mail(value: object) -> None:
    mail = build_template(make_facts()).compose(make_recipient(merge={"subscriber.name": value}))
    assert_well_formed(mail)
    assert decoded(mail, "plain").startswith(f"Hello {clean(value) or 'reader'}\r\n")


@pytest.mark.parametrize(
    "name",
    [
        *('"a" <x@y.example>', "a@bank.example", "a, b", "a; b", '"', "\\", "a\\", "(a)", "<b@c.example>", "a:b;"),
        *("Ü" * 100, "a" * 100, LONG_EMOJI[:100], "=?utf-8?q?x?=", "O'Neil, Jr."),
    ],
)
def test_any_display_name_leaves_exactly_one_from_mailbox(name: str) -> None:
    mail = compose(from_name=name, newsletter_name=name)
    assert_well_formed(mail)
    message = parse(mail)
    (mailbox,) = message["From"].addresses
    assert mailbox.addr_spec == "news@gazette.example"
    # The parser above inserts spaces between encoded words of a phrase, against RFC 2047; the older one does not.
    shown, address = parseaddr(message_from_bytes(mail.data, policy=compat32)["From"])
    assert address == "news@gazette.example"
    assert str(make_header(decode_header(shown))) == name


@pytest.mark.parametrize(
    "subject", [LONG_EMOJI, LONG_ACCENTS, "a" * 255, "word " * 50 + "end", "x  y" * 40, "日本語" * 80]
)
def test_a_long_subject_reads_back_identical(subject: str) -> None:
    mail = compose(subject=(subject,))
    assert_well_formed(mail)
    assert parse(mail)["Subject"] == subject
    header = mail.data.partition(b"\r\nSubject: ")[2].partition(b"\r\nDate:")[0]
    assert all(len(line) <= 76 for line in header.split(b"\r\n"))


@pytest.mark.parametrize(
    "value",
    [
        *("x\r\nBcc: evil@example.org", "x\nBcc: e@example.org", "x\rBcc: e@example.org", "é\r\n\r\nbody"),
        *("\x0b\x0c\x1c\x1d\x1e", "\x85Bcc: x", "\u2028Bcc: x", "\x00\x7f", "\ud800"),
        *("=?utf-8?q?Hi=0ABcc:_x@example.org?=", "?utf-8?q?Hi=0ABcc:_x?="),
    ],
)
def test_a_readers_value_in_the_subject_never_becomes_a_header(value: str) -> None:
    template = build_template(make_facts(subject=("Hi =", Slot("subscriber.name"))))
    mail = template.compose(make_recipient(merge={"subscriber.name": value}))
    assert_well_formed(mail)
    expected = message_from_bytes(compose().data, policy=compat32).keys()
    for policy in (compat32, default):
        message = message_from_bytes(mail.data, policy=policy)
        assert sorted(message.keys()) == sorted(expected)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|=\?", str(parse(mail)["Subject"]))


@pytest.mark.parametrize("body", SMUGGLING)
def test_a_hostile_body_stays_a_body(body: str) -> None:
    mail = compose(text=(body, Slot("subscriber.name"), body), html=(body, Slot("subscriber.name", Context.HTML)))
    assert_well_formed(mail)
    wire = re.sub(r"(?<!\r)\n", "\r\n", body)
    assert decoded(mail, "plain") == f"{wire}Ada{wire}"
    assert decoded(mail, "html") == f"{wire}Ada"


def _separately(text: str) -> str:
    return re.sub(r"\r\n|\n", "\r\n", text)


@given(
    static=st.lists(st.text(st.characters(codec="utf-8")), min_size=3, max_size=3),
    value=st.text(),
    fallback=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_any_text_with_any_value_reads_back_as_the_text_with_the_value(
    static: list[str], value: str, fallback: str
) -> None:
    default_value = clean(fallback)
    name = clean(value) or default_value
    first, second, third = static
    text = (first, Slot("subscriber.name", Context.TEXT, default_value), second, Slot(ADDRESS_FIELD), third)
    body = (
        first,
        Slot("subscriber.name", Context.HTML, default_value),
        second,
        Slot("subscriber.name", Context.URL, default_value),
        third,
    )
    mail = build_template(make_facts(text=text, html=body)).compose(make_recipient(merge={"subscriber.name": value}))
    assert_well_formed(mail)
    ends = [_separately(part) for part in static]
    assert decoded(mail, "plain") == f"{ends[0]}{name}{ends[1]}ada@example.org{ends[2]}"
    assert decoded(mail, "html") == f"{ends[0]}{html.escape(name)}{ends[1]}{quote(name, safe='')}{ends[2]}"


@given(subject=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=255))
def test_any_subject_reads_back_as_itself(subject: str) -> None:
    mail = compose(subject=(subject,))
    assert_well_formed(mail)
    raw = mail.data.partition(b"\r\nSubject: ")[2].partition(b"\r\nDate:")[0].decode()
    assert str(make_header(decode_header(message_from_bytes(f"Subject: {raw}\n\n".encode())["Subject"]))) == subject
