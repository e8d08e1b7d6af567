"""Facts of a small mail, for tests that compose without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from newsletters.delivery.compose import Purpose, Recipient
from newsletters.delivery.mime import Facts
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
