"""Whether the relay takes us in: the connection that lanes make, and what the relay offers. Sends nothing."""

from __future__ import annotations

import asyncio
import datetime
import math
import smtplib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import aiosmtplib
from anymail.exceptions import AnymailConfigurationError
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import get_connection
from django.db.models import Max
from django.db.models.functions import Length

from newsletters.delivery.configured import DJANGO_SMTP, open_connection, relay_of_settings
from newsletters.delivery.smtp import Connection, RelayFaultError, connect
from newsletters.doctor.findings import Finding, Level, Terms, error, note, ok, quote
from newsletters.models import Edition

# For each step of connecting; the whole check has its own limit.
STEP_SECONDS = 4.0
SOON_DAYS, VERY_SOON_DAYS = 21, 3
# Extension: what it means that it is missing.
WANTED = {
    "pipelining": "each mail takes two round trips more",
    "enhancedstatuscodes": "a full mailbox cannot be told from a refused mail",
    "smtputf8": "readers whose addresses are not ASCII before the @ bounce",
    "size": "a mail that is too large is refused only after it was sent",
}
_ENCRYPT = "Begin EMAIL_URL with smtp+tls:// (STARTTLS, port 587) or smtps:// (TLS from the start, port 465)."


@dataclass(frozen=True)
class _Facts:
    """What the relay says of itself: its extensions in lower case, and when its certificate ends."""

    extensions: dict[str, str]
    certificate_ends: datetime.datetime | None


def relay(_terms: Terms) -> Iterator[Finding]:
    """Connect, encrypt and log in exactly as lanes do, then look at certificate and extensions."""
    if settings.EMAIL_BACKEND != DJANGO_SMTP:
        yield _backend()
        return
    try:
        asyncio.run(_connect_and_leave())
    except RelayFaultError as fault:
        yield explain(fault)
        return
    user = f" and lets {settings.EMAIL_HOST_USER} in" if settings.EMAIL_HOST_USER else ""
    yield ok("mail.relay", f"The relay {place()} answers{user}.")
    try:
        facts = _ask()
    except (smtplib.SMTPException, OSError) as failure:
        yield note("mail.extensions_not_seen", f"It did not say what it offers: {type(failure).__name__}.")
        return
    yield from _certificate(facts.certificate_ends)
    missing = [name for name in WANTED if name not in facts.extensions]
    yield ok("mail.extensions", f"It offers {', '.join(sorted(facts.extensions)).upper() or 'no extensions'}.")
    for name in missing:
        yield note(f"mail.no_{name}", f"It does not offer {name.upper()}: {WANTED[name]}.")


def place() -> str:
    return f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"


async def open_link() -> Connection:
    """Return a connection made as lanes make theirs, with little patience. Raises RelayFaultError."""
    if settings.EMAIL_BACKEND != DJANGO_SMTP:
        return await open_connection()()
    return await connect(relay_of_settings(), timeout_scale=min(1.0, STEP_SECONDS / settings.EMAIL_TIMEOUT))


async def _connect_and_leave() -> None:
    connection = await open_link()
    connection.close()
    # The transport says QUIT and closes in the loop's next rounds.
    await asyncio.sleep(0.02)


def _backend() -> Finding:
    name = settings.EMAIL_BACKEND
    try:
        get_connection()
    except (ImproperlyConfigured, AnymailConfigurationError, ImportError) as failure:
        return error(
            "mail.backend_misconfigured",
            f"EMAIL_BACKEND {name} does not start: {quote(failure)}",
            "Correct EMAIL_BACKEND and set the ANYMAIL_… variables that it asks for.",
        )
    return note("mail.backend", f"Mail goes through {name}; only a test mail shows more.", "--mail-to ADDRESS")


def _certificate(ends: datetime.datetime | None) -> Iterator[Finding]:
    if ends is None:
        return
    days = (ends - datetime.datetime.now(datetime.UTC)).days
    if days >= SOON_DAYS:
        yield ok("mail.certificate", f"Its certificate is valid for {days} more days.")
        return
    yield Finding(
        "mail.certificate_ends_soon",
        Level.ERROR if days < VERY_SOON_DAYS else Level.WARNING,
        f"Its certificate ends in {days} day(s), on {ends:%Y-%m-%d}; no mail can be handed over after that.",
        "Let whoever runs the relay renew it.",
    )


def size(_terms: Terms) -> Iterator[Finding]:
    """Compare the largest mail that was ever frozen with what the relay takes."""
    if settings.EMAIL_BACKEND != DJANGO_SMTP:
        return
    largest = Edition.objects.aggregate(most=Max(Length("template")))["most"] or 0
    try:
        limit = _ask().extensions.get("size", "")
    except (smtplib.SMTPException, OSError) as failure:
        yield note("mail.size_not_checked", f"Not checked: the relay did not answer ({type(failure).__name__}).")
        return
    if not limit.isdigit() or int(limit) == 0:
        return
    shown = f"It takes mails up to {int(limit) / 1024:,.0f} KiB"
    shown += f"; the largest issue so far had {math.ceil(largest / 1024):,} KiB." if largest else "."
    if largest > int(limit):
        yield error(
            "mail.too_small", shown, "Raise the relay's limit (Postfix: message_size_limit), or shorten issues."
        )
    else:
        yield ok("mail.size", shown)


def _ask() -> _Facts:
    """Greet the relay once more, without logging in. Raises SMTPException and OSError."""
    context = ssl.create_default_context() if settings.EMAIL_USE_SSL or settings.EMAIL_USE_TLS else None
    # A literal: looking our own name up may take long where there is no name server.
    name, host, port = "[127.0.0.1]", settings.EMAIL_HOST, settings.EMAIL_PORT
    if settings.EMAIL_USE_SSL:
        client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, name, timeout=STEP_SECONDS, context=context)
    else:
        client = smtplib.SMTP(host, port, name, timeout=STEP_SECONDS)
    with client:
        client.ehlo()
        if settings.EMAIL_USE_TLS:
            client.starttls(context=context)
            client.ehlo()
        ends = None
        if isinstance(client.sock, ssl.SSLSocket) and (certificate := client.sock.getpeercert()):
            seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
            ends = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        return _Facts({name.lower(): value for name, value in client.esmtp_features.items()}, ends)


def explain(fault: RelayFaultError) -> Finding:
    """Return what kept us from the relay, and what to do about it."""
    causes = list(_causes(fault))
    outcome = fault.outcome
    if outcome.reason == "starttls_not_offered":
        return error(
            "mail.no_starttls",
            f"The relay {place()} does not offer STARTTLS, and nothing is sent in plain text.",
            "Take the port with STARTTLS (587), or smtps:// with port 465.",
        )
    if outcome.reason == "auth_not_offered":
        return error(
            "mail.no_auth",
            f"The relay {place()} does not take a password on this link.",
            f"{_ENCRYPT} Or leave user and password out, where it knows us by our address.",
        )
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _distrust(cause)
    if outcome.reply is not None:
        return _refusal(causes, f"{outcome.reply.code} {quote(outcome.reply.text)}")
    return _silence(causes)


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while failure is not None and id(failure) not in seen:
        seen.add(id(failure))
        yield failure
        failure = failure.__cause__ or failure.__context__


def _distrust(cause: ssl.SSLCertVerificationError) -> Finding:
    message = cause.verify_message
    if "expired" in message:
        code, remedy = "mail.certificate_expired", "Let whoever runs the relay renew its certificate."
    elif "mismatch" in message or "not valid for" in message:
        code, remedy = "mail.certificate_wrong_name", "Use a name in EMAIL_URL that the certificate has."
    else:
        code, remedy = (
            "mail.certificate_untrusted",
            "For an authority of your own set SSL_CERT_FILE to its certificate.",
        )
    return error(code, f"The certificate of {place()} is not valid: {quote(message)}.", remedy)


def _refusal(causes: list[BaseException], reply: str) -> Finding:
    if any(isinstance(cause, aiosmtplib.SMTPAuthenticationError) for cause in causes):
        return error(
            "mail.wrong_password",
            f"The relay {place()} refuses user {settings.EMAIL_HOST_USER}: {reply}",
            "Correct user and password in EMAIL_URL; characters such as @ and / are written in percent encoding.",
        )
    return error(
        "mail.refused",
        f"The relay {place()} refuses us: {reply}",
        "Let whoever runs the relay allow this machine's address, or look whether it is on a block list.",
    )


def _silence(causes: list[BaseException]) -> Finding:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return error(
                "mail.host_unknown",
                f"The name {settings.EMAIL_HOST} cannot be resolved: {quote(cause.strerror)}.",
                "Correct the host in EMAIL_URL, or the name server of this machine.",
            )
        if isinstance(cause, ConnectionRefusedError):
            return error(
                "mail.port_closed",
                f"Nobody listens at {place()}.",
                "Start the relay, or correct host and port in EMAIL_URL.",
            )
        if isinstance(cause, ssl.SSLError):
            return error("mail.tls_failed", f"{place()} speaks no TLS here: {quote(cause.reason or cause)}.", _ENCRYPT)
    if any(isinstance(cause, TimeoutError | aiosmtplib.SMTPTimeoutError) for cause in causes):
        return error(
            "mail.no_answer",
            f"{place()} does not answer within {min(STEP_SECONDS, settings.EMAIL_TIMEOUT):.0f} s.",
            "Look for a firewall that drops packets. A port with TLS from the start (465) wants smtps://.",
        )
    return error(
        "mail.cut",
        f"{place()} ends the connection before a mail can be sent.",
        "Look in the relay's log; it may know this machine's address as unwelcome, or be no mail server.",
    )
