"""Quoted-printable (RFC 2045) and encoded words (RFC 2047), written for texts that are cut at slots.

Every line of a body ends in CRLF, has at most 76 characters and begins neither with a dot nor with
"From ", so that no relay has to alter it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

LINE_LENGTH = 76
SOFT_BREAK = b"=\r\n"
_LITERAL = frozenset(range(0x20, 0x7F)) - {ord("=")}
_CODES = [bytes([byte]) if byte in _LITERAL else b"=%02X" % byte for byte in range(256)]
_CODES[ord("\t")] = b"\t"
_FROM = [b"F", b"r", b"o", b"m", b" "]
_HARD_BREAK = re.compile(r"\r\n|\n")
# Needs no encoding on a line of its own: printable, no trailing space, no leading dot.
_READY = re.compile(r"(?!\.|From )(?:[ -<>-~]{0,74}[!-<>-~])?")
# RFC 2047, section 5 (3): what may stand unencoded in an encoded word wherever one is allowed.
_WORD_LITERAL = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_WORD_CODES = ["_" if b == ord(" ") else chr(b) if b in _WORD_LITERAL else f"={b:02X}" for b in range(256)]
_WORD_PAYLOAD = 52
_HEADER_LENGTH = 76
_PLAIN_HEADER = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_LONGEST_PLAIN_WORD = 60


def quoted_segment(text: str, *, after_slot: bool, before_slot: bool) -> bytes:
    """Return a static piece of a body, encoded once for all readers.

    A slot's value stands on lines of its own: the piece before it ends with a soft line break or a
    line end, the piece after it begins with a soft line break.
    """
    lines = _HARD_BREAK.split(text)
    encoded = b"\r\n".join(_quoted_line(line, may_end_in_space=False) for line in lines[:-1])
    encoded += b"\r\n" if len(lines) > 1 else b""
    encoded += _quoted_line(lines[-1], may_end_in_space=before_slot)
    if before_slot and lines[-1]:
        encoded += SOFT_BREAK
    return SOFT_BREAK + encoded if after_slot else encoded


def quoted_value(value: str) -> bytes:
    """Return a reader's value as the lines between two soft line breaks, without the second one."""
    if _READY.fullmatch(value):
        return value.encode("ascii")
    return _quoted_line(value, may_end_in_space=False)


def _quoted_line(line: str, *, may_end_in_space: bool) -> bytes:
    """Encode one line, soft breaks inside, none at its end."""
    codes = [_CODES[byte] for byte in line.encode("utf-8")]
    if codes and codes[-1] in (b" ", b"\t") and not may_end_in_space:
        codes[-1] = b"=%02X" % codes[-1][0]
    rows: list[bytes] = []
    row: list[bytes] = []
    width = 0
    for index, plain in enumerate(codes):
        # One column is left for the "=" of a soft break, be it ours or the one before a slot.
        if width + len(plain) > LINE_LENGTH - 1:
            rows.append(b"".join(row))
            row, width = [], 0
        guarded = not row and (plain == b"." or codes[index : index + len(_FROM)] == _FROM)
        code = b"=%02X" % plain[0] if guarded else plain
        row.append(code)
        width += len(code)
    rows.append(b"".join(row))
    return SOFT_BREAK.join(rows)


def header_text(text: str, *, first_line: int) -> bytes:
    """Return unstructured header text, folded; `first_line` counts the columns that the name takes.

    Text that is not plain ASCII, that would make a line too long or that looks like an encoded word
    becomes encoded words, so that one decoding always gives the text itself.
    """
    words = text.split(" ")
    plain = _PLAIN_HEADER.fullmatch(text) and "=?" not in text
    if plain and first_line + len(text) <= _HEADER_LENGTH:
        return text.encode("ascii")
    if not plain or "" in words or max(map(len, words)) > _LONGEST_PLAIN_WORD:
        return encoded_words(text)
    lines = [words[0]]
    room = _HEADER_LENGTH - first_line
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = _HEADER_LENGTH - 1
        else:
            lines[-1] += " " + word
    return "\r\n ".join(lines).encode("ascii")


def encoded_words(text: str) -> bytes:
    """Return the text as folded encoded words of at most 64 characters, each whole characters only."""
    if not text:
        return b""
    raw = text.encode("utf-8")
    quoted_length = sum(len(_WORD_CODES[byte]) for byte in raw)
    if quoted_length <= len(raw) * 4 / 3:
        chunks = _chunks(text, lambda part: sum(len(_WORD_CODES[byte]) for byte in part))
        words = [f"=?utf-8?q?{''.join(_WORD_CODES[b] for b in chunk)}?=" for chunk in chunks]
    else:
        chunks = _chunks(text, lambda part: len(part) * 4 / 3)
        words = [f"=?utf-8?b?{base64.b64encode(chunk).decode()}?=" for chunk in chunks]
    return "\r\n ".join(words).encode("ascii")


def _chunks(text: str, cost: Callable[[bytes], float]) -> list[bytes]:
    chunks: list[bytes] = []
    chunk, spent = b"", 0.0
    for character in text:
        part = character.encode("utf-8")
        if spent + cost(part) > _WORD_PAYLOAD:
            chunks.append(chunk)
            chunk, spent = b"", 0.0
        chunk += part
        spent += cost(part)
    return [*chunks, chunk]


def display_name(text: str) -> bytes:
    """Return a phrase (RFC 5322): a quoted string, or encoded words where ASCII does not suffice."""
    if not text.isascii() or not text.isprintable() or "=?" in text:
        return encoded_words(text)
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'.encode("ascii")
