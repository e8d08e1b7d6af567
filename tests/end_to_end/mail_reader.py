"""Read a mail with none of the code that wrote it: plain RFC 5322, 2045, 2046 and 2047, strictly."""

from __future__ import annotations

import base64
import quopri
import re
from dataclasses import dataclass

LONGEST_LINE = 998
HEADER = re.compile(rb"([!-9;-~]+): ?(.*)", re.DOTALL)
ENCODED_WORD = re.compile(r"=\?([\w-]+)\?([QqBb])\?([!->@-~]*)\?=")
BETWEEN_WORDS = re.compile(r"(\?=)\s+(=\?)")
BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


class MalformedMailError(Exception):
    """The mail breaks a rule of its format."""


@dataclass(frozen=True)
class Part:
    """A mail or one part of it: unfolded, undecoded headers by lower-case name, and the body as sent."""

    headers: dict[str, list[str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the only header of a name, its encoded words decoded."""
        values = self.headers.get(name.lower(), [])
        if len(values) != 1:
            raise MalformedMailError(f"{len(values)} headers named {name}")
        return decode_words(values[0])

    @property
    def content_type(self) -> str:
        return self.header("Content-Type").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        """The decoded body of a text part in UTF-8."""
        encoding = self.headers.get("content-transfer-encoding", ["7bit"])[0].strip().lower()
        if encoding == "base64":
            raw = base64.b64decode(b"".join(self.body.split()), validate=True)
        elif encoding == "quoted-printable":
            raw = quopri.decodestring(self.body)
        else:
            raw = self.body
        return raw.decode()

    @property
    def parts(self) -> list[Part]:
        """The parts of a multipart body."""
        found = BOUNDARY.search(self.headers["content-type"][0])
        if found is None:
            raise MalformedMailError("multipart without a boundary")
        line = b"\r\n--" + found[1].encode()
        pieces = (b"\r\n" + self.body).split(line)
        if not pieces[-1].startswith(b"--"):
            raise MalformedMailError("no closing boundary")
        return [read(piece.removeprefix(b"\r\n")) for piece in pieces[1:-1]]

    def leaf(self, content_type: str) -> Part:
        """Return the only part of a type."""
        found = [part for part in self.leaves() if part.content_type == content_type]
        if len(found) != 1:
            raise MalformedMailError(f"{len(found)} parts of {content_type}")
        return found[0]

    def leaves(self) -> list[Part]:
        if not self.content_type.startswith("multipart/"):
            return [self]
        return [leaf for part in self.parts for leaf in part.leaves()]


def read(data: bytes) -> Part:
    """Return a mail or a part; raise MalformedMailError for anything that the standards forbid."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        raise MalformedMailError("no empty line after the headers")
    if re.search(rb"(?<!\r)\n|\r(?!\n)", data):
        raise MalformedMailError("a bare line feed or carriage return")
    if any(len(line) > LONGEST_LINE for line in data.split(b"\r\n")):
        raise MalformedMailError(f"a line longer than {LONGEST_LINE}")
    headers: dict[str, list[str]] = {}
    for line in re.sub(rb"\r\n(?=[ \t])", b"", head).split(b"\r\n"):
        matched = HEADER.fullmatch(line)
        if matched is None or not line.isascii():
            raise MalformedMailError(f"not a header: {line!r}")
        headers.setdefault(matched[1].decode().lower(), []).append(matched[2].decode())
    return Part(headers, body)


def decode_words(value: str) -> str:
    """Return a header's text, with the encoded words of RFC 2047 decoded."""

    def decode(matched: re.Match[str]) -> str:
        charset, how, text = matched.groups()
        if how in "Bb":
            return base64.b64decode(text, validate=True).decode(charset)
        return quopri.decodestring(text.replace("_", " ")).decode(charset)

    return ENCODED_WORD.sub(decode, BETWEEN_WORDS.sub(r"\1\2", value))
