"""Connecting to the relay: TLS and AUTH by aiosmtplib, whose link is then ours (`transaction.py`).

Its own protocol is left behind because it drops pipelined replies.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import socket
import ssl
from typing import Protocol, TypeVar

import aiosmtplib

from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome, Phase, Verdict, classify, cut, read_reply
from newsletters.delivery.transaction import SmtpConnection

T = TypeVar("T")
# RFC 8305, 5: what the next address family waits for the one before.
NEXT_ADDRESS_SECONDS = 0.25
# RFC 5321, 4.2.4: what a server says to EHLO that only knows HELO.
NO_EHLO = frozenset({500, 502, 504})
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED: renewed, or the clock set right, without us.
OUT_OF_DATE = frozenset({9, 10})


class RelayFaultError(Exception):
    """No connection could be made ready; `outcome` says why and whether that is permanent."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class Connection(Protocol):
    """Something that attempts one mail after another."""

    @property
    def usable(self) -> bool:
        """Whether another mail may be attempted on it."""

    async def send(self, mail: Mail) -> Outcome:
        """Attempt one mail; never raises for anything the relay does."""

    def close(self) -> None:
        """Let go of it at once."""


@dataclasses.dataclass(frozen=True)
class Relay:
    """Where mail is handed over: Django's EMAIL_* settings.

    `connect_seconds` bounds each step of connecting; `most_mails` and `most_seconds` one connection's use, 0 for
    no bound; `patience` scales the time-outs of a mail. Credentials go over plain text only when neither kind of TLS
    is asked for.
    """

    host: str
    port: int
    username: str = ""
    password: str = ""
    use_starttls: bool = False
    use_tls: bool = False
    connect_seconds: float = 30
    most_mails: int = 0
    most_seconds: int = 0
    patience: float = 1.0


async def connect(relay: Relay, *, timeout_scale: float = 1.0) -> SmtpConnection:
    """Return a ready connection. Raises RelayFaultError, permanent for a 5xx and for what only a person can mend."""
    seconds = relay.connect_seconds * timeout_scale
    client = aiosmtplib.SMTP(use_tls=relay.use_tls, start_tls=False, timeout=seconds)
    try:
        await _make_ready(client, relay, seconds)
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        # The library keeps bytes that are not UTF-8 as lone surrogates.
        text = error.message.encode("utf-8", "surrogateescape")
        raise RelayFaultError(classify(Phase.CONNECT, read_reply(error.code, text))) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        client.close()
        raise RelayFaultError(_unreached(error)) from error
    except RelayFaultError:
        client.close()
        raise
    transport = client.transport
    if not isinstance(transport, asyncio.Transport):
        raise RelayFaultError(cut(Phase.CONNECT, "connection_cut"))
    return SmtpConnection(
        transport,
        pipelining=client.supports_extension("pipelining"),
        smtputf8=client.supports_extension("smtputf8"),
        most_mails=relay.most_mails,
        most_seconds=relay.most_seconds,
        timeout_scale=timeout_scale * relay.patience,
    )


async def _make_ready(client: aiosmtplib.SMTP, relay: Relay, seconds: float) -> None:
    """Bring the client to where mail may be sent; what was asked for and is not offered is a fault, never skipped."""
    tls = await _once(_tls_context) if relay.use_tls or relay.use_starttls else None
    name = await _once(_own_name)
    link = await _dial(relay.host, relay.port, seconds)
    await client.connect(hostname=relay.host, sock=link, tls_context=tls, local_hostname=name)
    await _greet(client)
    if relay.use_starttls:
        if not client.supports_extension("starttls"):
            raise _beyond_repair("starttls_not_offered")
        await client.starttls()
        await _greet(client)
    if relay.username:
        if not client.supported_auth_methods:
            raise _beyond_repair("auth_not_offered")
        await client.login(relay.username, relay.password)


async def _dial(host: str, port: int, seconds: float) -> socket.socket:
    """Return a connected socket; of a host's addresses the first that answers (RFC 8305). Raises OSError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        transport, _ = await loop.create_connection(
            _Unheard, host, port, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
        )
    # aiosmtplib tries one address after another and gives all of them together one time-out, but takes a socket.
    link: socket.socket = transport.get_extra_info("socket").dup()
    transport.abort()
    return link


class _Unheard(asyncio.Protocol):
    """Leaves the greeting to whoever takes over the socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()


async def _greet(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code not in NO_EHLO:
            raise
        await client.helo()


async def _once(make: functools._lru_cache_wrapper[T]) -> T:
    """Return what this makes, in a thread the first time, when it may take long."""
    return make() if make.cache_info().currsize else await asyncio.to_thread(make)


@functools.cache
def _own_name() -> str:
    return socket.getfqdn()


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return what verifies the relay by the system's authorities (or SSL_CERT_FILE); loading them takes 20 ms."""
    return ssl.create_default_context()


def _unreached(error: Exception) -> Outcome:
    """Return what it means that no link came about; an untrusted certificate is permanent, an expired one is not."""
    doubt = next((e for e in (error, error.__cause__) if isinstance(e, ssl.SSLCertVerificationError)), None)
    if doubt is None:
        return cut(Phase.CONNECT, "cannot_connect")
    if doubt.verify_code in OUT_OF_DATE:
        return cut(Phase.CONNECT, "certificate_out_of_date")
    return _beyond_repair("certificate_not_trusted").outcome


def _beyond_repair(reason: str) -> RelayFaultError:
    return RelayFaultError(Outcome(Verdict.RELAY_FAULT, Phase.CONNECT, None, reason, permanent=True))
