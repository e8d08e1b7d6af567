"""The last look before an issue's first mail: compose, parse again, compare.

Checks on save should have refused whatever fails here. This stands behind them because Python's own
parser and every relay's may read a header differently from the one who wrote it.
"""

from __future__ import annotations

import re
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.policy import compat32, default

from core.errors import InvalidError
from newsletters.delivery.compose import Mail, Recipient, Template
from newsletters.delivery.mime import Facts
from newsletters.delivery.slots import ADDRESS_FIELD, UNSUBSCRIBE_FIELD, Pieces, fill

# RFC 5322 allows 998 characters in a line, not counting CRLF.
LONGEST_LINE = 998
# Each holds several attacks, because every one costs the person who presses Send a few milliseconds.
HOSTILE = (
    "",
    "x\r\nBcc: a@example.org\r\n\r\n.\r\nMAIL FROM:<b@example.org>\r\n=?utf-8?q?Hi=0ABcc:_c@example.org?=",
    '"><script>alert(1)</script>\u2028\x85\x00\ud800<img src=x onerror=1>' + "é\U0001f642\u0301" * 40,
    "." * 200,
)
BODIES = 2
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# The line ends of a folded header (RFC 5322, 2.2.3): what stays behind them is a space.
_FOLD = re.compile(r"\r\n(?=[ \t])")
_HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "MIME-Version",
    "List-Id",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "Feedback-ID",
    "Content-Type",
]


def verify(template: Template, facts: Facts) -> None:
    """Compose mails to a probing recipient with hostile values and read them back.

    Raises InvalidError `unsafe_message` when any of them is not exactly the mail that was meant.
    """
    personal = bool(template.merge_fields)
    for value in HOSTILE if personal else HOSTILE[:1]:
        merge = dict.fromkeys(template.merge_fields, value)
        recipient = Recipient(delivery_id=2**40, subscription_id=2**40, address="probe@example.org", merge=merge)
        _check_mail(template.compose(recipient), recipient, facts)


def _check_mail(mail: Mail, recipient: Recipient, facts: Facts) -> None:
    if b"\n" in mail.data.replace(b"\r\n", b"") or b"\r" in mail.data.replace(b"\r\n", b""):
        raise _unsafe("a line ends in something other than CRLF")
    lines = mail.data.split(b"\r\n")
    if any(len(line) > LONGEST_LINE or line.startswith(b".") for line in lines):
        raise _unsafe("a line is too long or begins with a dot")
    if not mail.data.isascii() or b"\0" in mail.data:
        raise _unsafe("it is not ASCII")
    message = message_from_bytes(mail.data, policy=compat32)
    _check_headers(message, facts)
    _check_people(message, recipient, facts)
    values: dict[str, object] = {**recipient.merge, ADDRESS_FIELD: recipient.address}
    for position, (subtype, pieces) in enumerate((("plain", facts.text), ("html", facts.html))):
        _check_body(message, position, subtype, pieces, values)


def _check_headers(message: Message, facts: Facts) -> None:
    expected = [*_HEADERS, *(["Reply-To"] if facts.reply_to else [])]
    if sorted(message.keys()) != sorted(expected):
        raise _unsafe("its headers are not the expected ones")
    for name, value in message.items():
        try:
            decoded = str(make_header(decode_header(value)))
        except (MessageError, UnicodeError, LookupError) as error:
            raise _unsafe(f"its header {name} cannot be decoded") from error
        # Decoded a second time by a careless relay, "=?" could still become a line end.
        if "=?" in decoded or _CONTROL.search(_FOLD.sub("", decoded)):
            raise _unsafe(f"its header {name} carries control characters or an encoded word within")


def _check_people(message: Message, recipient: Recipient, facts: Facts) -> None:
    for name, address in (("From", facts.from_address), ("To", recipient.address)):
        # The newer of Python's two parsers reads the list of mailboxes; it wants the header on one line.
        header = default.header_factory(name, _FOLD.sub("", message[name]))
        if [mailbox.addr_spec for mailbox in header.addresses] != [address]:
            raise _unsafe(f"its {name} is not exactly one mailbox")


def _check_body(message: Message, position: int, subtype: str, pieces: Pieces, values: dict[str, object]) -> None:
    parts = message.get_payload()
    if not isinstance(parts, list) or len(parts) != BODIES:
        raise _unsafe("it has not exactly two bodies")
    part = parts[position]
    if not isinstance(part, Message) or part.get_content_type() != f"text/{subtype}":
        raise _unsafe(f"it has no text/{subtype} part in its place")
    decoded = part.get_payload(decode=True)
    link = message["List-Unsubscribe"].partition(">")[0].lstrip("<")
    meant = fill(pieces, values | {UNSUBSCRIBE_FIELD: link})
    if not isinstance(decoded, bytes) or _line_ends(decoded.decode("utf-8", "replace")) != _line_ends(meant):
        raise _unsafe(f"its text/{subtype} part does not read back as it was meant")


def _line_ends(text: str) -> str:
    return text.replace("\r\n", "\n")


def _unsafe(reason: str) -> InvalidError:
    return InvalidError("unsafe_message", f"This issue cannot be sent as it stands: {reason}.")
