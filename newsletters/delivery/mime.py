"""Build the MIME template of an issue: headers and two alternative bodies, encoded once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

from newsletters.delivery.compose import SUBJECT_COLUMNS, Part, Purpose, Special, Template
from newsletters.delivery.encoding import display_name, header_text, quoted_segment
from newsletters.delivery.slots import UNSUBSCRIBE_FIELD, Pieces, Slot, fill

# A seal has 26 characters, with its "+" 27 of the 64 that RFC 5321 allows before the "@".
LONGEST_SEALED_LOCAL = 37
LONGEST_PHRASE_LINE = 76


@dataclass(frozen=True)
class Facts:
    """What every reader's mail has in common.

    `subject`, `html` and `text` are cut at their slots. `unsubscribe_base` is the page's address up to
    the token. `bounce_address` and `unsubscribe_mailbox` may be empty.
    """

    purpose: Purpose
    issue_uid: str
    newsletter_uid: str
    publisher_uid: str
    newsletter_name: str
    slug: str
    from_name: str
    from_address: str
    reply_to: str
    subject: Pieces
    html: Pieces
    text: Pieces
    started_at: datetime
    unsubscribe_base: str
    unsubscribe_mailbox: str
    bounce_address: str


def build_template(facts: Facts) -> Template:
    """Return the template of an issue. `facts.started_at` is aware; it is the mails' Date."""
    bounce_local, bounce_domain = _bounce_base(facts)
    return Template(
        purpose=facts.purpose,
        issued=int(facts.started_at.timestamp()),
        bounce_local=bounce_local,
        bounce_domain=bounce_domain,
        subject=facts.subject,
        parts=_joined([*_headers(facts), *_bodies(facts)]),
    )


def _bounce_base(facts: Facts) -> tuple[str, str]:
    local, _, domain = (facts.bounce_address or facts.from_address).rpartition("@")
    return (local if len(local) <= LONGEST_SEALED_LOCAL else "bounces"), domain


def _headers(facts: Facts) -> list[Part]:
    domain = facts.from_address.rpartition("@")[2]
    host = domain.encode("ascii")
    reply_to = [b"Reply-To: ", facts.reply_to.encode("ascii"), b"\r\n"] if facts.reply_to else []
    list_id = f"<{facts.slug}.{domain}>"
    feedback_id = f"{facts.issue_uid}:{facts.newsletter_uid}:{facts.publisher_uid}:courant"
    return [
        b"From: " + _mailbox(facts.from_name or facts.newsletter_name, f"<{facts.from_address}>") + b"\r\n",
        *reply_to,
        b"To: ", Special.ADDRESS, b"\r\n",
        b"Subject: ", _subject(facts.subject), b"\r\n",
        b"Date: " + format_datetime(facts.started_at.astimezone(UTC)).encode("ascii") + b"\r\n",
        b"Message-ID: <", Special.MESSAGE_ID, b"@" + host + b">\r\n",
        b"MIME-Version: 1.0\r\n",
        b"List-Id: " + _mailbox(facts.newsletter_name, list_id) + b"\r\n",
        *_list_unsubscribe(facts),
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        b"Feedback-ID: " + feedback_id.encode("ascii") + b"\r\n",
        b'Content-Type: multipart/alternative;\r\n boundary="' + _boundary(facts) + b'"\r\n',
    ]  # fmt: skip


def _mailbox(name: str, address: str) -> bytes:
    phrase = display_name(name)
    last_line = phrase.rpartition(b"\r\n")[2]
    fits = len("List-Id: ") + len(last_line) + 1 + len(address) <= LONGEST_PHRASE_LINE
    return phrase + (b" " if fits else b"\r\n ") + address.encode("ascii")


def _subject(subject: Pieces) -> Part:
    if any(isinstance(piece, Slot) for piece in subject):
        return Special.SUBJECT
    return header_text(fill(subject, {}), first_line=SUBJECT_COLUMNS)


def _list_unsubscribe(facts: Facts) -> list[Part]:
    link: list[Part] = [b"List-Unsubscribe: <" + facts.unsubscribe_base.encode("ascii"), Special.UNSUBSCRIBE_TOKEN]
    if not facts.unsubscribe_mailbox:
        return [*link, b">\r\n"]
    local, _, domain = quote(facts.unsubscribe_mailbox, safe="@+").encode("ascii").rpartition(b"@")
    if len(local) <= LONGEST_SEALED_LOCAL:
        before, after = b"mailto:" + local + b"+", b"@" + domain + b"?subject=unsubscribe"
    else:
        before, after = b"mailto:" + local + b"@" + domain + b"?subject=unsubscribe%20", b""
    return [*link, b">,\r\n <" + before, Special.UNSUBSCRIBE_MAILBOX, after + b">\r\n"]


def _boundary(facts: Facts) -> bytes:
    # "=_" cannot occur in quoted-printable text, so no body contains the boundary.
    return b"=_" + hashlib.sha256(facts.issue_uid.encode()).hexdigest()[:32].encode("ascii")


def _bodies(facts: Facts) -> list[Part]:
    delimiter = b"\r\n--" + _boundary(facts)
    base = facts.unsubscribe_base
    return [
        b"\r\nThis is a message in two forms, plain text and HTML." + delimiter,
        _part_header(b"plain"), *_encoded(facts.text, base), delimiter,
        _part_header(b"html"), *_encoded(facts.html, base), delimiter + b"--\r\n",
    ]  # fmt: skip


def _part_header(subtype: bytes) -> bytes:
    return (
        b"\r\nContent-Type: text/" + subtype + b'; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )


def _encoded(pieces: Pieces, unsubscribe_base: str) -> list[Part]:
    """Return a body's parts; the address of the unsubscribe page is static but for its token."""
    cut: list[str | Slot | Special] = []
    for piece in pieces:
        if isinstance(piece, Slot) and piece.field == UNSUBSCRIBE_FIELD:
            cut += [unsubscribe_base, Special.UNSUBSCRIBE_TOKEN]
        else:
            cut.append(piece)
    merged = _merged(cut)
    return [
        quoted_segment(piece, after_slot=index > 0, before_slot=index + 1 < len(merged))
        if isinstance(piece, str)
        else piece
        for index, piece in enumerate(merged)
    ]


def _merged(pieces: list[str | Slot | Special]) -> list[str | Slot | Special]:
    """Return the pieces with text first, last and between any two slots, as the encoder wants them."""
    merged: list[str | Slot | Special] = [""]
    for piece in pieces:
        if isinstance(piece, str):
            last = merged[-1]
            if isinstance(last, str):
                merged[-1] = last + piece
            else:
                merged.append(piece)
        else:
            merged += [piece] if isinstance(merged[-1], str) else ["", piece]
    return merged if isinstance(merged[-1], str) else [*merged, ""]


def _joined(parts: list[Part]) -> tuple[Part, ...]:
    """Return the parts with neighbouring bytes joined: fewer pieces to join for each reader."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)
