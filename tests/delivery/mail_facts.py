"""Facts of a small mail, for tests that compose without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import compat32, default
from typing import Any

from newsletters.delivery.compose import Mail, Purpose, Recipient
from newsletters.delivery.mime import Facts, build_template
from newsletters.delivery.slots import UNSUBSCRIBE_FIELD, Context, Slot

STARTED_AT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
HTML = (
    "<p>Hello ",
    Slot("subscriber.name", Context.HTML, "reader"),
    '</p><a href="',
    Slot(UNSUBSCRIBE_FIELD),
    '">x</a>',
)
TEXT = ("Hello ", Slot("subscriber.name", Context.TEXT, "reader"), "\n", Slot(UNSUBSCRIBE_FIELD), "\n")


def make_facts(**changed: Any) -> Facts:
    defaults: dict[str, Any] = {
        "purpose": Purpose.ISSUE,
        "issue_uid": "iss_1",
        "newsletter_uid": "nl_1",
        "publisher_uid": "pub_1",
        "newsletter_name": "The Weekly",
        "slug": "weekly",
        "from_name": "The Gazette",
        "from_address": "news@gazette.example",
        "reply_to": "",
        "subject": ("What happened this week",),
        "html": HTML,
        "text": TEXT,
        "started_at": STARTED_AT,
        "unsubscribe_base": "https://news.gazette.example/u/",
        "unsubscribe_mailbox": "",
        "bounce_address": "",
    }
    return Facts(**(defaults | changed))


def make_recipient(**changed: Any) -> Recipient:
    defaults: dict[str, Any] = {
        "delivery_id": 41,
        "subscription_id": 7,
        "address": "ada@example.org",
        "merge": {"subscriber.name": "Ada"},
    }
    return Recipient(**(defaults | changed))


def compose(**changed: Any) -> Mail:
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
