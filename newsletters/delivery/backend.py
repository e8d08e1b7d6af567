"""The slower adapter: any other Django e-mail backend (Anymail's, console, file) in place of our SMTP.

Same loop, same ledger. Such a backend gets a message object built anew for each attempt, so retries
are not byte-identical, and a time-out counts as uncertain, since nobody knows what the service did.
"""

from __future__ import annotations

import asyncio
import smtplib
from concurrent.futures import Executor
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage as ParsedMessage
from email.utils import parseaddr

import requests
from anymail.exceptions import AnymailAPIError, AnymailConfigurationError, AnymailRecipientsRefused
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives, get_connection
from urllib3.exceptions import NewConnectionError

from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import (
    Outcome,
    Phase,
    Reply,
    Suppress,
    Verdict,
    classify,
    read_reply,
    smtputf8_not_offered,
)

NOT_HEADERS = frozenset({"from", "to", "subject", "reply-to", "mime-version"})
UNAUTHORIZED = (401, 403)
BUSY = (429, 503)
SERVER_ERROR = 500
NEVER_CONNECTED = (ConnectionRefusedError, requests.exceptions.ConnectTimeout, NewConnectionError)
DEEPEST_CAUSE = 8


class BackendConnection:
    """Attempts mails through the configured backend, one at a time, in a thread of `executor`."""

    usable = True

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def send(self, mail: Mail) -> Outcome:
        """Attempt one mail; never raises for anything the service does."""
        # Django writes such a name as an encoded word, which is another mailbox.
        if not mail.recipient.isascii():
            return smtputf8_not_offered()
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._send, mail)

    def close(self) -> None:
        """Do nothing: each mail opens its own connection to the service."""

    @staticmethod
    def _send(mail: Mail) -> Outcome:
        try:
            get_connection().send_messages([to_message(mail)])
        except Exception as error:  # noqa: BLE001  # backends raise what they like; each outcome is recorded
            return judge(error)
        return Outcome(Verdict.SENT, Phase.DOT, None)


def to_message(mail: Mail) -> EmailMultiAlternatives:
    """Return Django's message for a composed mail, with the same headers and both bodies."""
    parsed = message_from_bytes(mail.data, policy=policy.default)
    assert isinstance(parsed, ParsedMessage)
    text, html = parsed.get_body(("plain",)), parsed.get_body(("html",))
    message = EmailMultiAlternatives(
        subject=str(parsed["Subject"]),
        body=text.get_content() if text else "",
        from_email=_sender(mail.data),
        to=[mail.recipient],
        reply_to=[str(value) for value in parsed.get_all("Reply-To", [])],
        headers={
            name: str(value)
            for name, value in parsed.items()
            if name.lower() not in NOT_HEADERS and not name.lower().startswith("content-")
        },
    )
    if html is not None:
        message.attach_alternative(html.get_content(), "text/html")
    # Anymail's name for the envelope sender; other backends ignore it.
    message.envelope_sender = mail.envelope_sender  # type: ignore[attr-defined]  # as above
    return message


def _sender(data: bytes) -> str:
    """Return the From of a mail on one line, its name decoded."""
    # The newer parser puts a space between two encoded words of a name, against RFC 2047, section 6.2.
    name, address = parseaddr(message_from_bytes(data, policy=policy.compat32)["From"])
    return str(Address(str(make_header(decode_header(name))), addr_spec=address))


def judge(error: Exception) -> Outcome:
    """Return what a backend's exception means, in the words of the reply table."""
    if isinstance(error, AnymailRecipientsRefused):
        return Outcome(Verdict.BOUNCED, Phase.RCPT, None, "recipient_refused", Suppress.NEVER)
    if isinstance(error, AnymailAPIError) and error.status_code is not None:
        return _judge_status(error.status_code)
    if isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused):
        return _judge_smtp(error)
    if isinstance(error, ImproperlyConfigured | AnymailConfigurationError):
        return Outcome(Verdict.RELAY_FAULT, Phase.CONNECT, None, "backend_misconfigured", permanent=True)
    if _never_connected(error):
        return Outcome(Verdict.RELAY_FAULT, Phase.CONNECT, None, "cannot_connect")
    # The service may have the mail: neither the libraries nor we know how far the request came.
    return Outcome(Verdict.UNCERTAIN, Phase.DOT, None, type(error).__name__[:40])


def _judge_smtp(error: smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused) -> Outcome:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return classify(Phase.RCPT, read_reply(code, text))
    raw = error.smtp_error
    reply = read_reply(error.smtp_code, raw if isinstance(raw, bytes) else raw.encode())
    return classify(Phase.DATA if isinstance(error, smtplib.SMTPDataError) else Phase.CONNECT, reply)


def _judge_status(status: int) -> Outcome:
    reply = Reply(code=status, status=None, text=f"The service answered HTTP {status}.")
    if status in UNAUTHORIZED:
        return Outcome(Verdict.RELAY_FAULT, Phase.CONNECT, reply, "relay_refused", permanent=True)
    if status in BUSY:
        return Outcome(Verdict.RELAY_FAULT, Phase.CONNECT, reply, "relay_busy")
    if status >= SERVER_ERROR:
        return Outcome(Verdict.UNCERTAIN, Phase.DOT, reply, "server_error")
    return Outcome(Verdict.BOUNCED, Phase.DATA, reply, "policy")


def _never_connected(error: BaseException | None) -> bool:
    """Whether a connection error, however deeply wrapped, came before anything could be sent."""
    for _ in range(DEEPEST_CAUSE):
        if error is None or isinstance(error, NEVER_CONNECTED):
            return error is not None
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        error = error.__cause__ or (inner if isinstance(inner, BaseException) else None)
    return False
