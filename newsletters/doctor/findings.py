"""What the doctor finds: one sentence seen, one remedy, and how bad it is."""

from __future__ import annotations

import enum
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from django.conf import settings

# A shorter one would be struck out of ordinary words.
SHORTEST_SECRET = 4
LONGEST_QUOTE = 300


class Level(enum.StrEnum):
    """How bad a finding is. Only `warning` and `error` change the exit code."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `code` is stable: its subject, a dot, and what was found."""

    code: str
    level: Level
    seen: str
    remedy: str = ""

    @property
    def subject(self) -> str:
        return self.code.partition(".")[0]


@dataclass(frozen=True)
class Terms:
    """What the operator asked for. `resolver` is the (address, port) of a name server in place of the system's."""

    mail_to: str = ""
    resolver: tuple[str, int] | None = None
    dkim_selectors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One look at one subject, given up after `seconds`.

    `needs_database` leaves it out when the database does not answer, `needs_schema` also while migrations
    are pending. `late` is the level of a check that was given up.
    """

    name: str
    look: Callable[[Terms], Iterable[Finding]]
    seconds: float = 5.0
    needs_database: bool = False
    needs_schema: bool = False
    late: Level = Level.NOTE


def ok(code: str, seen: str) -> Finding:
    return Finding(code, Level.OK, seen)


def note(code: str, seen: str, remedy: str = "") -> Finding:
    return Finding(code, Level.NOTE, seen, remedy)


def warning(code: str, seen: str, remedy: str) -> Finding:
    return Finding(code, Level.WARNING, seen, remedy)


def error(code: str, seen: str, remedy: str) -> Finding:
    return Finding(code, Level.ERROR, seen, remedy)


def quote(text: object) -> str:
    """Return somebody else's words, such as an exception's or a relay's, on one line and without our secrets."""
    plain = " ".join(str(text).split())
    for secret in sorted(_secrets(), key=len, reverse=True):
        plain = plain.replace(secret, "[secret]")
    printable = "".join(character if character.isprintable() else "?" for character in plain)
    return printable if len(printable) <= LONGEST_QUOTE else printable[: LONGEST_QUOTE - 1] + "…"


def _secrets() -> set[str]:
    """Return every secret of the settings that is long enough, as it is and in percent encoding."""
    words = [settings.SECRET_KEY, *settings.SIGNING_KEYS, settings.EMAIL_HOST_PASSWORD]
    words += [str(entry.get("PASSWORD") or "") for entry in settings.DATABASES.values()]
    words += [str(value) for value in settings.ANYMAIL.values()]
    words += [*_url_secrets(settings.BROKER_URL), *_url_secrets(settings.RESTORE_GUARD_STORE)]
    plain = {word for word in words if len(word) >= SHORTEST_SECRET}
    return plain | {urllib.parse.quote(word, safe="") for word in plain}


def _url_secrets(url: str) -> Iterator[str]:
    parts = urllib.parse.urlsplit(url)
    values = [parts.password or "", *dict(urllib.parse.parse_qsl(parts.query)).values()]
    for value in values:
        yield value
        yield urllib.parse.unquote(value)
