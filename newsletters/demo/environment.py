"""The demonstration's own surroundings: ports, folder and the variables its processes get."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Of the examples in docs/api.md, which so run as they are.
EXAMPLES_DOMAIN = "gazette.example"
WEB_PORT = 8000
MAIL_PORT = 2525
PORTS_TRIED = 50
# Set to nothing, so that a `.env` for real servers cannot reach into the demonstration.
UNSET = (
    "ALLOWED_HOSTS",
    "BOUNCE_ADDRESS",
    "DATABASE_POOLER",
    "DEFAULT_FROM_EMAIL",
    "EMAIL_BACKEND",
    "RECIPIENT_ALLOW_LIST",
    "RETRY_SCALE_PERCENT",
    "SMTP_PATIENCE_PERCENT",
    "TRUSTED_PROXY_COUNT",
    "UNSUBSCRIBE_MAILBOX",
)


class PortTakenError(Exception):
    """A port that was asked for by number is in use."""


@dataclass(frozen=True)
class Surroundings:
    """Where one demonstration runs."""

    folder: Path
    web_port: int
    mail_port: int

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def variables(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of every process of the demonstration: the embedded set-up."""
        return {
            **inherited,
            **dict.fromkeys(UNSET, ""),
            "DEBUG": "1",
            "ALLOW_TEST_ADDRESSES": "1",
            "BASE_URL": self.base_url,
            "BROKER_URL": "memory://",
            "DATABASE_URL": f"sqlite:///{self.folder / 'courant.sqlite3'}",
            "EMAIL_URL": f"smtp://127.0.0.1:{self.mail_port}",
            "LOG_LEVEL": "WARNING",
            "PORT": str(self.web_port),
            "RESTORE_GUARD_STORE": str(self.folder.resolve() / "restore-guard.json"),
            "VERIFIED_SENDER_DOMAINS": EXAMPLES_DOMAIN,
        }


def choose_port(first: int, *, asked: int | None, purpose: str) -> int:
    """Return `asked` if it is free, or without one the first free port from `first` on.

    Raises PortTakenError when the port asked for is in use.
    """
    if asked is not None:
        if not _is_free(asked):
            raise PortTakenError(f"Port {asked} for {purpose} is in use. Choose another one.")
        return asked
    for port in range(first, first + PORTS_TRIED):
        if _is_free(port):
            return port
    raise PortTakenError(f"No port from {first} to {first + PORTS_TRIED - 1} is free for {purpose}.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
