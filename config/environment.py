"""Read every environment variable Courant knows, and name all wrong ones in one error.

Each variable is described in `.env.example`; a test compares the two lists.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from email_validator import EmailNotValidError, validate_email

T = TypeVar("T")

BROKER_SCHEMES = ("amqp", "amqps", "redis", "rediss", "memory")
DEVELOPMENT_KEY = "development-only-key-never-used-with-debug-off-0123456789"
MIN_KEY_LENGTH = 40
MIN_KEY_CHARACTERS = 10


@dataclass
class Reader:
    """Reads variables one by one and gathers what is wrong with them.

    `raw` is the environment. `names` lists each variable asked for, `problems` one
    sentence for each variable that is missing or malformed.
    """

    raw: Mapping[str, str]
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Return the parsed value, or `default` when unset, empty or wrong."""
        self.names.append(name)
        value = self.raw.get(name, "").strip()
        if not value:
            return default
        try:
            return parse(value)
        except (ValueError, KeyError, ImproperlyConfigured, EmailNotValidError) as error:
            self.problems.append(f"{name}: {error}")
            return default

    def text(self, name: str, default: str = "") -> str:
        return self.read(name, str, default)

    def whole(self, name: str, default: int, *, least: int = 1, most: int = 1_000_000) -> int:
        def parse(value: str) -> int:
            if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
                raise ValueError(f"must be a whole number from {least} to {most}, not {value!r}")
            return int(value)

        return self.read(name, parse, default)

    def flag(self, name: str, *, default: bool) -> bool:
        def parse(value: str) -> bool:
            words = {"1": True, "true": True, "yes": True, "on": True}
            words |= {"0": False, "false": False, "no": False, "off": False}
            if value.lower() not in words:
                raise ValueError(f"must be 1 or 0, not {value!r}")
            return words[value.lower()]

        return self.read(name, parse, default)

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        def parse(value: str) -> str:
            if value.lower() not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}, not {value!r}")
            return value.lower()

        return self.read(name, parse, default)

    def words(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        def parse(value: str) -> tuple[str, ...]:
            return tuple(word.strip() for word in value.split(",") if word.strip())

        return self.read(name, parse, default)

    def address(self, name: str, default: str = "") -> str:
        def parse(value: str) -> str:
            checked = validate_email(value, check_deliverability=False, test_environment=True, allow_smtputf8=False)
            # Envelopes and headers are ASCII: a domain in another script is written in A-labels (RFC 5890).
            return checked.ascii_email or checked.normalized

        return self.read(name, parse, default)

    def fail(self, name: str, sentence: str) -> None:
        self.problems.append(f"{name}: {sentence}")

    def raise_problems(self) -> None:
        """Raise ImproperlyConfigured naming every wrong variable, or do nothing."""
        if self.problems:
            listed = "\n".join(f"  - {problem}" for problem in self.problems)
            raise ImproperlyConfigured(
                f"Courant cannot start, {len(self.problems)} setting(s) are wrong "
                f"(each is described in .env.example):\n{listed}"
            )


def parse_base_url(value: str) -> str:
    """Return the public address of the site without a trailing slash."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"must be an http(s) address such as https://news.example.org, not {value!r}")
    return value.rstrip("/")


def parse_broker_url(value: str) -> str:
    """Return the broker's URL when its scheme is one that Courant can use."""
    scheme = urlsplit(value).scheme
    if scheme not in BROKER_SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(s + '://' for s in BROKER_SCHEMES)}")
    return value


def parse_database_url(value: str) -> dict[str, Any]:
    """Return Django's DATABASES entry for a postgres:// or sqlite:// URL."""
    if urlsplit(value).scheme not in ("postgres", "postgresql", "sqlite"):
        raise ValueError("must begin with postgres:// or sqlite:///")
    return dict(environ.Env.db_url_config(value))


def parse_email_url(value: str) -> dict[str, Any]:
    """Return Django's EMAIL_* settings for an smtp://, smtps://, smtp+tls:// … URL."""
    # django-environ reads smtps:// as STARTTLS; everybody else (RFC 8314) means TLS from the start.
    if value.startswith("smtps://"):
        value = "smtp+ssl://" + value.removeprefix("smtps://")
    if urlsplit(value).scheme not in environ.Env.EMAIL_SCHEMES:
        known = ", ".join(sorted(environ.Env.EMAIL_SCHEMES))
        raise ValueError(f"must begin with one of these schemes: {known}")
    config = dict(environ.Env.email_url_config(value))
    config["EMAIL_PORT"] = config["EMAIL_PORT"] or (465 if config.get("EMAIL_USE_SSL") else 25)
    return config


def check_secret(reader: Reader, name: str, value: str) -> None:
    """Refuse a key that is short or repeats few characters."""
    if len(value) < MIN_KEY_LENGTH or len(set(value)) < MIN_KEY_CHARACTERS:
        reader.fail(
            name,
            f"must be at least {MIN_KEY_LENGTH} random characters; make one with "
            '`python -c "import secrets; print(secrets.token_urlsafe(48))"`',
        )


def parse_guard_store(value: str) -> str:
    """Return where the restore guard remembers the database: an absolute path, a Redis URL or "off"."""
    if value == "off" or urlsplit(value).scheme in ("redis", "rediss") or Path(value).is_absolute():
        return value
    raise ValueError(f"must be an absolute path, a redis:// or rediss:// address, or off, not {value!r}")


def default_guard_store(base_dir: Path, database: Mapping[str, Any]) -> str:
    """Return a file beside the SQLite file, else below `var/`; "off" where nothing can be written.

    A PostgreSQL server's name has no part in it: restoring a backup to a new server must be noticed.
    """
    path = base_dir / "var" / "restore-guard.json"
    if database["ENGINE"].endswith("sqlite3"):
        path = Path(f"{database['NAME']}.restore-guard.json").absolute()
    folder = next(parent for parent in path.parents if parent.exists())
    return str(path) if os.access(folder, os.W_OK) else "off"


def default_database(base_dir: Path) -> dict[str, Any]:
    """Return the embedded database: one SQLite file below `var/`."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(base_dir / "var" / "courant.sqlite3")}
