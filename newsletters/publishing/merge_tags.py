"""Merge tags: the few words in double braces that are replaced for each reader.

A text is searched once from left to right; a tag never reaches Django's template engine. While a body
passes through Markdown, the sanitiser and the layout, each tag is a marker of plain letters and digits
that all of them leave alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from core.errors import invalid_field
from newsletters.delivery.slots import UNSUBSCRIBE_FIELD, Context, Pieces, Slot, clean, escape

NEWSLETTER_FIELD = "newsletter.name"
LONGEST_TAG = 200
# Each is filled in for each reader.
MOST_TAGS = 500
KNOWN = "{{ subscriber.name }}, {{ subscriber.email }}, {{ subscriber.<attribute> }}, {{ newsletter.name }}"
_FIELD = re.compile(r"subscriber\.[a-z][a-z0-9_]{0,39}")
_TAG = re.compile(r'\s*([A-Za-z_.0-9]{1,60})\s*(?:\|\s*default:\s*(?:"([^"]*)"|\'([^\']*)\')\s*)?')
# What a marker's letter says about its place: text of the body, part of a URL, a whole URL.
_BODY, _URL, _LINK = "n", "u", "w"


@dataclass(frozen=True)
class Tag:
    """One parsed tag, such as `{{ subscriber.name | default: "reader" }}`."""

    field: str
    default: str = ""


def parse(text: str, *, pointer: str, links: bool = False) -> list[str | Tag]:
    """Return the text cut at its tags.

    `links` allows `{{ unsubscribe_url }}`, which has no place in a subject. Raises InvalidError
    `unclosed_tag` or `unknown_tag`, naming the tag, or `too_many_tags`, with `pointer` as the field.
    """
    cut: list[str | Tag] = []
    position = 0
    for start, end in _spans(text, pointer):
        cut += [text[position:start], _read_tag(text[start:end], pointer, links=links)]
        position = end
        if len(cut) > 2 * MOST_TAGS:
            raise invalid_field(pointer, "too_many_tags", f"A text has at most {MOST_TAGS} merge tags.")
    return [*cut, text[position:]]


def _spans(text: str, pointer: str) -> Iterator[tuple[int, int]]:
    if (block := text.find("{%")) >= 0:
        raise _unknown(text[block : block + 40], pointer)
    start = text.find("{{")
    while start >= 0:
        end = text.find("}}", start, start + LONGEST_TAG)
        if end < 0:
            shown = text[start : start + 40].partition("\n")[0]
            raise invalid_field(pointer, "unclosed_tag", f"The merge tag {shown!r} is not closed with }}}}.")
        yield start, end + 2
        start = text.find("{{", end + 2)


def _read_tag(source: str, pointer: str, *, links: bool) -> Tag:
    match = _TAG.fullmatch(source[2:-2])
    if match is None:
        raise _unknown(source, pointer)
    field, default = match[1], clean(match[2] or match[3] or "")
    if field == UNSUBSCRIBE_FIELD and links and not default:
        return Tag(field)
    if field == NEWSLETTER_FIELD or _FIELD.fullmatch(field):
        return Tag(field, default)
    raise _unknown(source, pointer)


def _unknown(source: str, pointer: str) -> Exception:
    return invalid_field(
        pointer,
        "unknown_tag",
        f"There is no merge tag {source!r}. Known are {KNOWN} and, in the body, {{{{ unsubscribe_url }}}}; "
        'each but the last may have a default, as in {{ subscriber.name | default: "reader" }}.',
    )


@dataclass
class Marked:
    """A text whose tags have become markers, and the way back to pieces.

    A marker names a tag by its number; the letter before says where it stands. Markers begin with a
    digest of all the texts of a mail, so none of them can contain one of its own.
    """

    nonce: str
    text: str = ""
    tags: list[Tag] = field(default_factory=list)

    def marker(self, tag: Tag) -> str:
        """Take in one more tag and return its marker, for a text that is laid out with this one."""
        self.tags.append(tag)
        number = len(self.tags) - 1
        if tag.field == UNSUBSCRIBE_FIELD:
            return f"https://{self.nonce}{_LINK}{number}z.invalid/"
        return f"{self.nonce}{_BODY}{number}z"

    def mark(self, cut: list[str | Tag]) -> str:
        """Return a parsed text with a marker in place of each tag."""
        return "".join(piece if isinstance(piece, str) else self.marker(piece) for piece in cut)

    @property
    def link_marker(self) -> re.Pattern[str]:
        """What a whole address made of `{{ unsubscribe_url }}` looks like."""
        return re.compile(rf"https://{self.nonce}{_LINK}[0-9]+z\.invalid/")

    def holds_marker(self, text: str) -> bool:
        return self.nonce in text

    def in_url(self, url: str) -> str:
        """Return an address whose markers say that their values stand in a URL."""
        return re.sub(rf"{self.nonce}{_BODY}([0-9]+)z", rf"{self.nonce}{_URL}\1z", url)

    def unmarked(self, text: str) -> str:
        """Return the text with tags in place of its markers, for showing it to an editor."""

        def tag(match: re.Match[str]) -> str:
            return f"{{{{ {self.tags[int(match[1] or match[2])].field} }}}}"

        return re.sub(rf"https://{self.nonce}{_LINK}([0-9]+)z\.invalid/|{self.nonce}[a-z]([0-9]+)z", tag, text)

    def cut(self, text: str, *, context: Context, newsletter_name: str) -> Pieces:
        """Return the text cut at its markers; `newsletter.name` is filled in at once."""
        pattern = rf"https://{self.nonce}{_LINK}[0-9]+z\.invalid/|{self.nonce}[{_BODY}{_URL}][0-9]+z"
        pieces: list[str | Slot] = []
        position = 0
        for match in re.finditer(pattern, text):
            pieces += [text[position : match.start()], self._slot(match[0], context, newsletter_name)]
            position = match.end()
        return tuple(piece for piece in [*pieces, text[position:]] if piece != "")

    def _slot(self, marker: str, context: Context, newsletter_name: str) -> str | Slot:
        letter, number = marker.partition(self.nonce)[2][0], marker.partition(self.nonce)[2][1:]
        tag = self.tags[int(number.partition("z")[0])]
        if tag.field == UNSUBSCRIBE_FIELD:
            return Slot(UNSUBSCRIBE_FIELD)
        place = Context.URL if letter == _URL else context
        if tag.field == NEWSLETTER_FIELD:
            return escape(clean(newsletter_name), place)
        return Slot(tag.field, place, tag.default)


def mark(text: str, *, pointer: str, beside: tuple[str, ...] = ()) -> Marked:
    """Return the text with a marker in place of each tag. Raises what `parse` raises.

    `beside` are the other texts that will stand in the same mail.
    """
    digest = hashlib.sha256("\0".join((text, *beside)).encode("utf-8", "surrogatepass")).hexdigest()
    # A letter first, so that the marker is one word wherever words are told from numbers.
    marked = Marked(nonce=f"m{digest[:24]}")
    marked.text = marked.mark(parse(text, pointer=pointer, links=True))
    return marked


def pieces_of(text: str, *, pointer: str, newsletter_name: str) -> Pieces:
    """Return a line of plain text, such as a subject, cut at its slots."""
    found: list[str | Slot] = []
    for piece in parse(text, pointer=pointer):
        if isinstance(piece, str):
            found.append(piece)
        elif piece.field == NEWSLETTER_FIELD:
            found.append(clean(newsletter_name))
        else:
            found.append(Slot(piece.field, Context.TEXT, piece.default))
    return tuple(piece for piece in found if piece != "")
