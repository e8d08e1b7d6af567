"""Mails as independent parsers read them."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message
from email.policy import compat32
from email.utils import parsedate_to_datetime

import pytest
from pytest_django import Settings

from core.tokens import InvalidTokenError, open_sealed_id, open_token
from newsletters.delivery.compose import Purpose, Template
from newsletters.delivery.mime import build_template
from newsletters.delivery.slots import ADDRESS_FIELD, Context, Slot
from tests.delivery.mail_facts import (
    STARTED_AT,
    compose,
    decoded,
    make_facts,
    make_recipient,
    parse,
)


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
