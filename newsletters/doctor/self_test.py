"""The self-test: one mail, through the very code that delivers issues."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime

from django.conf import settings

from core.allow_list import is_allowed
from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome, Verdict
from newsletters.delivery.smtp import RelayFaultError
from newsletters.doctor.findings import Finding, Terms, error, ok, quote, warning
from newsletters.doctor.mail import explain, open_link


def send(terms: Terms) -> Iterator[Finding]:
    """Send one mail to `terms.mail_to`, if there is one, and tell what became of it."""
    if not terms.mail_to:
        return
    if not is_allowed(terms.mail_to):
        yield error(
            "mail.test_not_allowed",
            f"No test mail was sent: {terms.mail_to} is not on RECIPIENT_ALLOW_LIST.",
            "Name an address on the list, or unset RECIPIENT_ALLOW_LIST.",
        )
        return
    message_id = f"<doctor.{uuid.uuid4().hex}@{settings.DEFAULT_FROM_EMAIL.rpartition('@')[2]}>"
    try:
        # A backend that prints mails must not print between our findings.
        with contextlib.redirect_stdout(sys.stderr):
            outcome = asyncio.run(_attempt(write(terms.mail_to, message_id)))
    except RelayFaultError as fault:
        yield explain(fault)
        return
    yield _judge(outcome, f"The test mail {message_id} to {terms.mail_to}")


def write(recipient: str, message_id: str) -> Mail:
    """Return the test mail."""
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.DEFAULT_FROM_EMAIL
    message["To"] = recipient
    message["Subject"] = "Test mail of Courant"
    message["Message-ID"] = message_id
    message["Date"] = format_datetime(localtime())
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"This mail was sent by `manage.py doctor` of {settings.BASE_URL}.\n\n"
        "Look at its Authentication-Results header: SPF, DKIM and DMARC should say pass.\n"
    )
    return Mail(settings.BOUNCE_ADDRESS or settings.DEFAULT_FROM_EMAIL, recipient, message.as_bytes())


async def _attempt(mail: Mail) -> Outcome:
    connection = await open_link()
    try:
        return await connection.send(mail)
    finally:
        connection.close()
        await asyncio.sleep(0.02)


def _judge(outcome: Outcome, what: str) -> Finding:
    said = f"{outcome.reply.code} {quote(outcome.reply.text)}" if outcome.reply else outcome.reason or "no reply"
    if outcome.verdict is Verdict.SENT:
        return ok("mail.test_sent", f"{what} was taken: {said if outcome.reply else 'the service accepted it'}")
    if outcome.verdict is Verdict.DEFERRED:
        return warning(
            "mail.test_deferred",
            f"{what} was put off at {outcome.phase}: {said}",
            "Try again in 15 minutes: grey-listing takes a mail the second time.",
        )
    if outcome.verdict is Verdict.UNCERTAIN:
        return warning(
            "mail.test_uncertain",
            f"{what} was handed over and not answered: {said}",
            "Look whether it has arrived, and in the relay's log.",
        )
    return error(
        "mail.test_refused",
        f"{what} was refused at {outcome.phase}: {said}",
        "Read what the relay says; it must relay for this machine or user, and for the sender "
        f"{settings.BOUNCE_ADDRESS or settings.DEFAULT_FROM_EMAIL}.",
    )
