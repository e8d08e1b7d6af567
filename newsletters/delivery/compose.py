"""One MIME template for an issue, and a few substituted bytes for each reader.

Everything that all readers share is encoded once, when the issue is frozen. Composing a mail then
joins byte strings, some thirty times faster than building a message object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cached_property

from core.tokens import sealer, token_maker
from newsletters.delivery.encoding import header_text, quoted_value
from newsletters.delivery.slots import ADDRESS_FIELD, Context, Pieces, Slot, clean, escape, fill, slot_fields

VERSION = 1
SUBJECT_COLUMNS = len("Subject: ")


class Purpose(StrEnum):
    """What a mail is for: the real thing, or a proof whose links and bounces touch nobody."""

    ISSUE = "issue"
    PROOF = "proof"


# The token purposes of each: message id, bounce address, unsubscribe link, unsubscribe mailbox.
_SEALS = {
    Purpose.ISSUE: ("message", "bounce", "unsubscribe", "unsubscribe-mailbox"),
    Purpose.PROOF: ("proof-message", "proof-bounce", "proof-unsubscribe", "proof-unsubscribe-mailbox"),
}


class Special(Enum):
    """Values of a mail that come from its delivery, not from the reader's attributes."""

    MESSAGE_ID = "message_id"
    ADDRESS = "address"
    SUBJECT = "subject"
    UNSUBSCRIBE_TOKEN = "unsubscribe_token"  # noqa: S105  # a name, not a secret
    UNSUBSCRIBE_MAILBOX = "unsubscribe_mailbox"


# Encoded bytes, a value of the delivery, or a reader's value.
Part = bytes | Special | Slot


# Recipient and Mail are not frozen: they are made for every mail, and freezing triples the cost.
@dataclass(slots=True)
class Recipient:
    """Whom one mail goes to. `merge` is keyed by the tag's own name, such as "subscriber.city"."""

    delivery_id: int
    subscription_id: int
    address: str
    merge: Mapping[str, str]


@dataclass(slots=True)
class Mail:
    """A complete mail: CRLF line ends, not dot-stuffed (no line begins with a dot).

    ASCII but for a recipient beyond it, who stands in To as UTF-8 (RFC 6532): such a mail needs SMTPUTF8.
    """

    envelope_sender: str
    recipient: str
    data: bytes


@dataclass(frozen=True)
class Template:
    """The mail of one issue with places to fill.

    `parts` are the encoded bytes of header and body, cut where something differs from reader to
    reader. `bounce_local` and `bounce_domain` make the envelope sender; `issued` is the start of the
    issue in seconds since the epoch, so that every attempt carries the same token.
    """

    purpose: Purpose
    issued: int
    bounce_local: str
    bounce_domain: str
    subject: Pieces
    parts: tuple[Part, ...]

    @cached_property
    def merge_fields(self) -> tuple[str, ...]:
        """Names of the reader's values to freeze with the audience; the address is not among them."""
        used = {part.field for part in self.parts if isinstance(part, Slot)} | set(slot_fields(self.subject))
        return tuple(sorted(used - {ADDRESS_FIELD}))

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """Return the template as canonical JSON; the encoded parts are pure ASCII."""
        facts = {
            "version": VERSION,
            "purpose": self.purpose,
            "issued": self.issued,
            "bounce": [self.bounce_local, self.bounce_domain],
            "subject": [_dump(piece) for piece in self.subject],
            "parts": [_dump(part) for part in self.parts],
        }
        return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_bytes(cls, data: bytes) -> Template:
        """Return the template that `to_bytes` wrote. Raises ValueError for another version."""
        facts = json.loads(data)
        if facts["version"] != VERSION:
            raise ValueError(f"This release reads templates of version {VERSION}, not {facts['version']}.")
        return cls(
            purpose=Purpose(facts["purpose"]),
            issued=facts["issued"],
            bounce_local=facts["bounce"][0],
            bounce_domain=facts["bounce"][1],
            subject=tuple(piece if isinstance(piece, str) else _load_slot(piece) for piece in facts["subject"]),
            parts=tuple(_load(part) for part in facts["parts"]),
        )

    def compose(self, recipient: Recipient) -> Mail:
        """Return the reader's mail. The same template and recipient give the same bytes."""
        known = recipient.merge
        base, specials, slots = self._plan
        parts = base.copy()
        for make, positions in specials:
            value = make(recipient)
            for position in positions:
                parts[position] = value
        for slot, default, positions in slots:
            raw = recipient.address if slot.field == ADDRESS_FIELD else known.get(slot.field)
            cleaned = clean(raw) if raw else ""
            value = quoted_value(escape(cleaned, slot.context)) if cleaned else default
            for position in positions:
                parts[position] = value
        bounce = self._seal_bounce(recipient.delivery_id)
        return Mail(f"{self.bounce_local}+{bounce}@{self.bounce_domain}", recipient.address, b"".join(parts))

    @cached_property
    def _seal_bounce(self) -> Callable[[int], str]:
        return sealer(_SEALS[self.purpose][1])

    @cached_property
    def _plan(self) -> tuple[list[bytes], _Specials, _Slots]:
        """What `compose` does, prepared once: fixed parts, and who fills which positions."""
        base = [part if isinstance(part, bytes) else b"" for part in self.parts]
        positions: dict[Special | Slot, list[int]] = {}
        for position, part in enumerate(self.parts):
            if not isinstance(part, bytes):
                positions.setdefault(part, []).append(position)
        makers = self._makers()
        specials = [(makers[part], found) for part, found in positions.items() if isinstance(part, Special)]
        slots = [
            (part, quoted_value(escape(part.default, part.context)), found)
            for part, found in positions.items()
            if isinstance(part, Slot)
        ]
        return base, specials, slots

    def _makers(self) -> dict[Special, Callable[[Recipient], bytes]]:
        message, _, unsubscribe, mailbox = _SEALS[self.purpose]
        seal_message, seal_mailbox = sealer(message), sealer(mailbox)
        make_token = token_maker(unsubscribe, self.issued)
        return {
            Special.MESSAGE_ID: lambda to: seal_message(to.delivery_id).encode(),
            Special.ADDRESS: lambda to: to.address.encode(),
            Special.UNSUBSCRIBE_TOKEN: lambda to: make_token(to.subscription_id).encode(),
            Special.UNSUBSCRIBE_MAILBOX: lambda to: seal_mailbox(to.subscription_id).encode(),
            Special.SUBJECT: self._subject_of,
        }

    def _subject_of(self, recipient: Recipient) -> bytes:
        subject = fill(self.subject, {**recipient.merge, ADDRESS_FIELD: recipient.address})
        # A reader's value must not open an encoded word, alone or together with the text before it.
        return header_text(subject.replace("=?", "= ?").strip(), first_line=SUBJECT_COLUMNS)


_Specials = list[tuple[Callable[[Recipient], bytes], list[int]]]
_Slots = list[tuple[Slot, bytes, list[int]]]


def _dump(part: Part | str) -> object:
    if isinstance(part, Slot):
        return {"field": part.field, "context": part.context, "default": part.default}
    if isinstance(part, Special):
        return {"special": part.value}
    return part.decode("ascii") if isinstance(part, bytes) else part


def _load(part: str | dict[str, str]) -> Part:
    if isinstance(part, str):
        return part.encode("ascii")
    return Special(part["special"]) if "special" in part else _load_slot(part)


def _load_slot(part: dict[str, str]) -> Slot:
    return Slot(part["field"], Context(part["context"]), part["default"])
