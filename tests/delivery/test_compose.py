"""Mails as independent parsers read them."""

from __future__ import annotations

import html
import re
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from email.policy import compat32, default
from email.utils import parseaddr, parsedate_to_datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from core.tokens import InvalidTokenError, open_sealed_id, open_token
from newsletters.delivery.compose import Mail, Purpose, Template
from newsletters.delivery.mime import build_template
from newsletters.delivery.slots import ADDRESS_FIELD, Context, Slot, clean
from tests.delivery.mail_facts import STARTED_AT, make_facts, make_recipient

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


def compose(**changed: object) -> Mail:
    return build_template(make_facts(**changed)).compose(make_recipient())


def parse(mail: Mail) -> EmailMessage:
    parsed = message_from_bytes(mail.data, policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def decoded(mail: Mail, subtype: str) -> str:
    """Return a body as bytes on the wire say it, without the parser's own mending of line ends."""
    for part in message_from_bytes(mail.data, policy=compat32).walk():
        if part.get_content_type() == f"text/{subtype}":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return payload.decode()
    raise AssertionError(subtype)


def assert_well_formed(mail: Mail) -> None:
    assert mail.data.isascii()
    lines = mail.data.split(b"\r\n")
    assert all(b"\r" not in line and b"\n" not in line for line in lines)
    head, _, body = mail.data.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 for line in head.split(b"\r\n"))
    assert all(len(line) <= 76 for line in body.split(b"\r\n"))
    assert not any(line.startswith((b".", b"From ")) for line in body.split(b"\r\n"))


def test_every_header_stands_once_with_its_value() -> None:
    mail = compose(reply_to="desk@gazette.example")
    message: Message = message_from_bytes(mail.data, policy=compat32)
    token = re.fullmatch(r"<https://news\.gazette\.example/u/([\w-]{43})>", message["List-Unsubscribe"])
    assert token is not None
    assert sorted(message.keys()) == sorted(
        [
            "From", "Reply-To", "To", "Subject", "Date", "Message-ID", "MIME-Version", "List-Id",
            "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID", "Content-Type",
        ]
    )  # fmt: skip
    assert message["From"] == '"The Gazette" <news@gazette.example>'
    assert message["Reply-To"] == "desk@gazette.example"
    assert message["To"] == "ada@example.org"
    assert message["Subject"] == "What happened this week"
    assert parsedate_to_datetime(message["Date"]) == STARTED_AT
    assert message["List-Id"] == '"The Weekly" <weekly.gazette.example>'
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["Feedback-ID"] == "iss_1:nl_1:pub_1:courant"
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.walk()][1:] == ["text/plain", "text/html"]


def test_the_message_id_and_the_bounce_address_name_the_delivery() -> None:
    mail = compose()
    identifier = re.fullmatch(r"<([a-z2-7]{26})@gazette\.example>", str(parse(mail)["Message-ID"]))
    assert identifier is not None
    assert open_sealed_id("message", identifier[1]) == 41
    bounce = re.fullmatch(r"news\+([a-z2-7]{26})@gazette\.example", mail.envelope_sender)
    assert bounce is not None
    assert open_sealed_id("bounce", bounce[1]) == 41
    assert mail.recipient == "ada@example.org"


def test_the_unsubscribe_link_is_the_same_in_header_and_bodies_and_names_the_subscription() -> None:
    mail = compose()
    link = str(parse(mail)["List-Unsubscribe"]).strip("<>")
    assert open_token("unsubscribe", link.rpartition("/")[2]).pk == 7
    assert link in decoded(mail, "plain")
    assert f'href="{link}"' in decoded(mail, "html")


def test_bounces_go_to_the_configured_address() -> None:
    mail = compose(bounce_address="returns@bounce.example.org")
    assert re.fullmatch(r"returns\+[a-z2-7]{26}@bounce\.example\.org", mail.envelope_sender)


def test_a_long_local_part_gives_way_so_that_the_bounce_address_stays_valid() -> None:
    mail = compose(from_address=f"{'n' * 38}@gazette.example")
    local = mail.envelope_sender.rpartition("@")[0]
    assert local.startswith("bounces+")
    assert len(local) <= 64
    longest = compose(from_address=f"{'n' * 37}@gazette.example").envelope_sender.rpartition("@")[0]
    assert longest.startswith("n" * 37 + "+")
    assert len(longest) == 64


@pytest.mark.parametrize("local", ["leave", "l" * 60])
def test_an_unsubscribe_mailbox_is_offered_beside_the_link(local: str) -> None:
    header = str(parse(compose(unsubscribe_mailbox=f"{local}@gazette.example"))["List-Unsubscribe"])
    web, mailbox = header.split(", ")
    assert web.startswith("<https://news.gazette.example/u/")
    match = re.search(r"[a-z2-7]{26}", mailbox.replace("l" * 60, ""))
    assert mailbox.startswith(f"<mailto:{local}")
    assert match is not None
    assert open_sealed_id("unsubscribe-mailbox", match[0]) == 7


def test_the_links_and_bounces_of_a_proof_touch_nobody() -> None:
    mail = compose(purpose=Purpose.PROOF)
    token = str(parse(mail)["List-Unsubscribe"]).strip("<>").rpartition("/")[2]
    with pytest.raises(InvalidTokenError):
        open_token("unsubscribe", token)
    with pytest.raises(InvalidTokenError):
        open_sealed_id("bounce", mail.envelope_sender.partition("+")[2].partition("@")[0])


def test_the_same_reader_gets_the_same_bytes_also_from_a_stored_template() -> None:
    template = build_template(make_facts(subject=("Hello ", Slot("subscriber.name", default="you"))))
    restored = Template.from_bytes(template.to_bytes())
    recipient = make_recipient(merge={"subscriber.name": "Chloé"})
    assert restored == template
    assert restored.sha256 == template.sha256
    assert restored.compose(recipient) == template.compose(recipient) == template.compose(recipient)


def test_a_new_signing_key_changes_neither_message_id_nor_bounce_address(settings: Settings) -> None:
    before = compose()
    settings.SIGNING_KEYS = ("another key of at least forty characters 12345", *settings.SIGNING_KEYS)
    after = compose()
    assert parse(after)["Message-ID"] == parse(before)["Message-ID"]
    assert after.envelope_sender == before.envelope_sender


def test_a_template_of_another_version_is_refused() -> None:
    stored = build_template(make_facts()).to_bytes().replace(b'"version":1', b'"version":2')
    with pytest.raises(ValueError, match="version 1"):
        Template.from_bytes(stored)


def test_different_readers_get_different_links() -> None:
    template = build_template(make_facts())
    links = {
        str(parse(template.compose(make_recipient(subscription_id=n, delivery_id=n)))["List-Unsubscribe"])
        for n in range(50)
    }
    assert len(links) == 50


def test_merge_fields_name_what_must_be_frozen_without_the_address() -> None:
    html_body = (Slot("subscriber.city", Context.HTML), Slot(ADDRESS_FIELD, Context.HTML))
    template = build_template(make_facts(html=html_body, subject=(Slot("subscriber.pet"),)))
    assert template.merge_fields == ("subscriber.city", "subscriber.name", "subscriber.pet")


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
