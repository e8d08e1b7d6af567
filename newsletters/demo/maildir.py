"""Reading the caught mails."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from django.conf import settings

HEAD_BYTES = 16 * 1024
_NAME = re.compile(r"[0-9]{20}\.[0-9]{6}\Z")


@dataclass(frozen=True)
class Caught:
    """What the list shows of one mail."""

    name: str
    recipient: str
    subject: str
    date: str
    in_list: bool


def folder() -> Path:
    """Return the Maildir: `mail` beside the SQLite file, or in `var/` with another database."""
    database = settings.DATABASES["default"]
    if str(database["ENGINE"]).endswith("sqlite3"):
        return Path(database["NAME"]).parent / "mail"
    return Path(settings.BASE_DIR) / "var" / "mail"


def names() -> list[str]:
    """Return the mails' names, the newest first."""
    new = folder() / "new"
    return sorted((path.name for path in new.iterdir()), reverse=True) if new.is_dir() else []


def head(name: str) -> Caught:
    with (folder() / "new" / name).open("rb") as file:
        mail = _parse(file.read(HEAD_BYTES).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    return Caught(
        name=name,
        recipient=str(mail.get("Delivered-To", "")),
        subject=str(mail.get("Subject", "")),
        date=str(mail.get("Date", "")),
        in_list="List-Unsubscribe" in mail,
    )


def search(text: str) -> Iterator[Caught]:
    """Yield the mails whose recipient or subject contains the text, newest first."""
    wanted = text.strip().lower()
    for name in names():
        found = head(name)
        if wanted in f"{found.recipient}\n{found.subject}".lower():
            yield found


def read(name: str) -> EmailMessage | None:
    """Return one mail, or None when there is none of that name."""
    if not _NAME.match(name):
        return None
    path = folder() / "new" / name
    return _parse(path.read_bytes()) if path.is_file() else None


def part(mail: EmailMessage, subtype: str) -> str:
    """Return the decoded text of the "html" or "plain" part, or nothing."""
    body = mail.get_body(preferencelist=(subtype,))
    return str(body.get_content()) if body is not None else ""


def _parse(data: bytes) -> EmailMessage:
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed
