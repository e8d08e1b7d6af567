"""Connecting to the relay: TLS and AUTH by aiosmtplib, whose link is then ours (`transaction.py`).

Its own protocol is left behind because it drops pipelined replies.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Protocol

import aiosmtplib

from newsletters.delivery.compose import Mail
from newsletters.delivery.replies import Outcome, Phase, classify, cut, read_reply
from newsletters.delivery.transaction import SmtpConnection

CONNECT_SECONDS = 30


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
    """Where mail is handed over: Django's EMAIL_* settings."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    use_starttls: bool = False
    use_tls: bool = False


async def connect(relay: Relay, *, timeout_scale: float = 1.0) -> SmtpConnection:
    """Return a ready connection. Raises RelayFaultError, permanent for a 5xx at banner, EHLO or AUTH."""
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        username=relay.username or None,
        password=relay.password or None,
        use_tls=relay.use_tls,
        start_tls=relay.use_starttls,
        timeout=CONNECT_SECONDS * timeout_scale,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
    except aiosmtplib.SMTPResponseException as error:
        client.close()
        # The library keeps bytes that are not UTF-8 as lone surrogates.
        text = error.message.encode("utf-8", "surrogateescape")
        raise RelayFaultError(classify(Phase.CONNECT, read_reply(error.code, text))) from error
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        client.close()
        raise RelayFaultError(cut(Phase.CONNECT, "cannot_connect")) from error
    transport = client.transport
    if not isinstance(transport, asyncio.Transport):
        raise RelayFaultError(cut(Phase.CONNECT, "connection_cut"))
    return SmtpConnection(transport, pipelining=client.supports_extension("pipelining"), timeout_scale=timeout_scale)
