"""Markdown as editors write it: CommonMark with tables, strikethrough and bare https:// addresses."""

from __future__ import annotations

from markdown_it import MarkdownIt

from core.errors import invalid_field

# The parser looks back and forth for the other end of each mark: what it may have to look for is bounded.
MARKS = "[]*_`~<>|!&\\"
MOST_MARKS = 8_000
MOST_ADDRESSES = 1_000
MOST_LINES = 5_000
# Raw HTML in Markdown would be a second way to the same thing: it is shown as typed.
_PARSER = MarkdownIt("commonmark", {"html": False, "linkify": True}).enable(["table", "strikethrough", "linkify"])
# "example.org" or "a.me" in a sentence may be no address at all; only what begins with a scheme becomes a link.
_LINKIFY = _PARSER.linkify
assert _LINKIFY is not None
_LINKIFY.set({"fuzzy_link": False, "fuzzy_email": True, "fuzzy_ip": False})


def to_html(markdown: str, *, pointer: str) -> str:
    """Return the HTML of a Markdown text; addresses are judged by the sanitiser.

    Raises InvalidError `markdown_too_complex` for more markup than a second can handle.
    """
    counted = (
        (sum(markdown.count(mark) for mark in MARKS), MOST_MARKS, f"of the characters {MARKS}"),
        (markdown.count("://") + markdown.count("@"), MOST_ADDRESSES, "addresses"),
        (markdown.count("\n") + markdown.count("\r"), MOST_LINES, "lines"),
    )
    for count, most, what in counted:
        if count > most:
            raise invalid_field(pointer, "markdown_too_complex", f"The Markdown has more than {most} {what}.")
    return str(_PARSER.render(markdown))
