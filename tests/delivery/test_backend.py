"""Any other Django e-mail backend behind the same loop, and what its exceptions mean."""

from __future__ import annotations

import asyncio
import smtplib
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes
from email.header import decode_header, make_header
from email.policy import default
from email.utils import parseaddr

import pytest
import requests
from anymail.exceptions import AnymailAPIError, AnymailConfigurationError, AnymailRecipientsRefused
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NewConnectionError

from newsletters.delivery.backend import BackendConnection, judge, to_message
from newsletters.delivery.courier import Courier
from newsletters.delivery.replies import Suppress, Verdict
from newsletters.delivery.smtp import Connection
from newsletters.models import Delivery
from newsletters.publishing import sending
from newsletters.publishing.fan_out import fan_out
from tests.cast import make_issue, make_newsletter, make_readers
from tests.delivery.acts import LIMITS
from tests.delivery.mail_facts import compose


def test_the_message_has_the_headers_and_bodies_of_the_composed_mail() -> None:
    composed = compose(reply_to="desk@gazette.example")
    wire = message_from_bytes(composed.data, policy=default)
    text, html = wire.get_body(("plain",)), wire.get_body(("html",))
    assert text is not None
    assert html is not None
    message = to_message(composed)
    built = message.message()
    for name in ("From", "To", "Subject", "Reply-To", "Message-ID", "Date", "List-Unsubscribe", "List-Id"):
        assert " ".join(str(built[name]).split()) == " ".join(str(wire[name]).split()), name
    assert built["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message.body == text.get_content()
    assert list(message.alternatives[0]) == [html.get_content(), "text/html"]
    assert vars(message)["envelope_sender"] == composed.envelope_sender


@pytest.mark.parametrize(
    "name",
    [
        *("Наша еженедельная газета города", "日本語のとても長いニュースレターの名前です。", "🎉" * 100, "a" * 100),
        *('"a" <x@y.example>', "a\\", "O'Neil, Jr.; (desk)", "The Weekly of the Printing House Square in London"),
    ],
)
def test_the_senders_name_stays_as_it_is_however_many_lines_it_needs(name: str) -> None:
    built = to_message(compose(from_name=name)).message()
    shown, address = parseaddr(built["From"])
    assert (str(make_header(decode_header(shown))).strip(), address) == (name, "news@gazette.example")


@pytest.mark.django_db(transaction=True)
@pytest.mark.dialects
def test_an_issue_goes_out_through_another_backend(loop: asyncio.AbstractEventLoop) -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 20)
    issue = make_issue(newsletter)
    sending.send(issue.pk)
    fan_out(issue.pk)
    with ThreadPoolExecutor(4) as executor:

        async def open_backend() -> Connection:
            return BackendConnection(executor)

        courier = Courier(loop, LIMITS, open_backend)
        courier.start()
        asyncio.run_coroutine_threadsafe(courier.serve(issue.pk), loop).result(timeout=600)
        courier.stop()
    assert not Delivery.objects.filter(issue=issue).exclude(state="sent").exists()
    assert sorted(message.to[0] for message in mail.outbox) == sorted(
        f"reader-{number}@example.org" for number in range(1, 21)
    )


def refused_connection() -> requests.ConnectionError:
    connection = HTTPConnection("127.0.0.1")
    inner = MaxRetryError(None, "/", NewConnectionError(connection, "refused"))  # type: ignore[arg-type]
    return requests.ConnectionError(inner)


def wrapped(cause: Exception) -> AnymailAPIError:
    """Return what Anymail raises when the request itself failed."""
    error = AnymailAPIError("the request failed")
    error.__cause__ = cause
    return error


def answered(status: int) -> AnymailAPIError:
    error = AnymailAPIError("the service answered")
    error.status_code = status
    return error


@pytest.mark.parametrize(
    ("error", "verdict", "permanent"),
    [
        (AnymailRecipientsRefused(), Verdict.BOUNCED, False),
        (answered(401), Verdict.RELAY_FAULT, True),
        (answered(403), Verdict.RELAY_FAULT, True),
        (answered(422), Verdict.BOUNCED, False),
        (answered(429), Verdict.RELAY_FAULT, False),
        (answered(503), Verdict.RELAY_FAULT, False),
        (answered(500), Verdict.UNCERTAIN, False),
        (answered(504), Verdict.UNCERTAIN, False),
        (wrapped(requests.ReadTimeout()), Verdict.UNCERTAIN, False),
        (wrapped(requests.ConnectionError("aborted")), Verdict.UNCERTAIN, False),
        (wrapped(requests.ConnectTimeout()), Verdict.RELAY_FAULT, False),
        (wrapped(refused_connection()), Verdict.RELAY_FAULT, False),
        (ImproperlyConfigured("no key"), Verdict.RELAY_FAULT, True),
        (AnymailConfigurationError("no key"), Verdict.RELAY_FAULT, True),
        (ConnectionRefusedError(), Verdict.RELAY_FAULT, False),
        (TimeoutError(), Verdict.UNCERTAIN, False),
        (RuntimeError("surprise"), Verdict.UNCERTAIN, False),
        (smtplib.SMTPServerDisconnected("gone"), Verdict.UNCERTAIN, False),
        (smtplib.SMTPAuthenticationError(535, b"5.7.8 no"), Verdict.RELAY_FAULT, True),
        (smtplib.SMTPRecipientsRefused({"a@b.co": (550, b"5.1.1 nobody")}), Verdict.BOUNCED, False),
        (smtplib.SMTPDataError(451, b"4.3.0 later"), Verdict.DEFERRED, False),
    ],
)
def test_an_exception_means_what_is_known_and_uncertain_otherwise(
    error: Exception, verdict: Verdict, permanent: bool
) -> None:
    outcome = judge(error)
    assert (outcome.verdict, outcome.permanent) == (verdict, permanent)


def test_only_a_mailbox_that_smtp_names_is_suppressed() -> None:
    assert judge(AnymailRecipientsRefused()).suppress is Suppress.NEVER
    assert judge(smtplib.SMTPRecipientsRefused({"a@b.co": (550, b"5.1.1 no")})).suppress is Suppress.NOW
