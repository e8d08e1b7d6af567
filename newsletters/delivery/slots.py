"""The places in a text that are filled in for each reader, and how a value is made safe for its place."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

ADDRESS_FIELD = "subscriber.email"
UNSUBSCRIBE_FIELD = "unsubscribe_url"
_PLAIN = re.compile(r"[ -~]*")


class Context(StrEnum):
    """Where a value stands: plain text, HTML text or a quoted attribute, or part of a URL."""

    TEXT = "text"
    HTML = "html"
    URL = "url"


@dataclass(frozen=True)
class Slot:
    """One place to fill: the tag's own name such as "subscriber.city", its context and its default."""

    field: str
    context: Context = Context.TEXT
    default: str = ""


# A text cut at its slots.
Pieces = tuple[str | Slot, ...]


def clean(value: object) -> str:
    """Return a reader's value as one line of valid Unicode without control characters.

    Whatever an import or a client stored, a mail must still be composed: controls and line ends
    become spaces, lone surrogates U+FFFD, numbers their digits, true and false these words, nested
    values nothing.
    """
    if value is None or isinstance(value, dict | list):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not _PLAIN.fullmatch(text):
        text = "".join(_clean_character(character) for character in text)
    return text.strip()


def _clean_character(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "\ufffd" if category == "Cs" else character


def escape(value: str, context: Context) -> str:
    """Return a cleaned value as it must be written in its context."""
    if context is Context.HTML:
        return html.escape(value)
    if context is Context.URL:
        return quote(value, safe="")
    return value


def fill(pieces: Pieces, values: Mapping[str, object]) -> str:
    """Return the text with every slot filled; a missing or empty value gives the slot's default."""
    return "".join(piece if isinstance(piece, str) else filled(piece, values) for piece in pieces)


def filled(slot: Slot, values: Mapping[str, object]) -> str:
    return escape(clean(values.get(slot.field)) or slot.default, slot.context)


def slot_fields(*texts: Pieces) -> tuple[str, ...]:
    """Return the names of all slots, each once, in alphabetical order."""
    return tuple(sorted({piece.field for pieces in texts for piece in pieces if isinstance(piece, Slot)}))
