"""Addresses beyond ASCII: the door takes none, and a row that has one all the same is sent or refused, never held."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core import mail

from core.tokens import address_digest
from newsletters.delivery.backend import BackendConnection
from newsletters.delivery.mime import build_template
from newsletters.models import Delivery, Issue, Subscriber
from tests.cast import make_newsletter, make_readers
from tests.delivery.acts import Deliver, send, states
from tests.delivery.mail_facts import make_facts, make_recipient
from tests.delivery.scripted_relay import ScriptedRelay

ZOE = "zoë@example.org"


def issue_with_zoe(readers: int = 8) -> Issue:
    """Return an issue that is sending; five of its readers have an address that only SMTPUTF8 can name."""
    newsletter = make_newsletter()
    make_readers(newsletter, readers)
    beyond = list(Subscriber.objects.filter(subscriptions__newsletter=newsletter).order_by("pk")[:5])
    for number, reader in enumerate(beyond):
        reader.address = reader.address_key = f"zoë-{number}@example.org"
        reader.address_digest = address_digest(reader.address)
    Subscriber.objects.bulk_update(beyond, ["address", "address_key", "address_digest"])
    return send(newsletter)


@pytest.mark.django_db(transaction=True)
@pytest.mark.dialects
def test_a_relay_that_offers_smtputf8_gets_mails_to_addresses_beyond_ascii(deliver: Deliver) -> None:
    issue, relay = issue_with_zoe(), ScriptedRelay(extensions=("8BITMIME", "SMTPUTF8"))
    deliver(issue, relay)
    assert states(issue) == {"sent": 8}
    assert "RCPT TO:<zoë-0@example.org>" in relay.commands
    assert sum(line.endswith("SMTPUTF8") for line in relay.commands if line.startswith("MAIL")) == 5
    # RFC 6532: in a header as in the envelope, the address is UTF-8 as it is.
    assert sum("To: zoë-0@example.org\r\n".encode() in body for body in relay.bodies) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.dialects
def test_without_smtputf8_those_readers_alone_are_refused_and_nobody_is_held(deliver: Deliver) -> None:
    issue, relay = issue_with_zoe(), ScriptedRelay()
    deliver(issue, relay)
    issue.refresh_from_db()
    assert (states(issue), issue.state) == ({"sent": 3, "bounced": 5}, "sending")
    refused = Delivery.objects.filter(issue=issue, state="bounced")
    assert set(refused.values_list("reason", "reply_code", "reply_status")) == {("smtputf8_not_offered", 553, "5.6.7")}
    assert all(line.isascii() for line in relay.commands)


def test_only_the_recipients_address_leaves_ascii_and_every_attempt_has_the_same_bytes() -> None:
    template = build_template(make_facts())
    composed = template.compose(make_recipient(address=ZOE))
    plain = template.compose(make_recipient())
    assert composed.recipient == ZOE
    assert composed.data == template.compose(make_recipient(address=ZOE)).data
    assert composed.data.replace(ZOE.encode(), b"ada@example.org") == plain.data


def test_another_backend_which_would_name_another_mailbox_is_not_asked() -> None:
    composed = build_template(make_facts()).compose(make_recipient(address=ZOE))
    with ThreadPoolExecutor(1) as executor:
        outcome = asyncio.run(BackendConnection(executor).send(composed))
    assert (outcome.verdict, outcome.reason) == ("bounced", "smtputf8_not_offered")
    assert mail.outbox == []
