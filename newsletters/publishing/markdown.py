"""Markdown as editors write it: CommonMark with tables, strikethrough and bare https:// addresses."""

from __future__ import annotations

from markdown_it import MarkdownIt

# Raw HTML in Markdown would be a second way to the same thing: it is shown as typed.
_PARSER = MarkdownIt("commonmark", {"html": False, "linkify": True}).enable(["table", "strikethrough", "linkify"])
# "example.org" or "a.me" in a sentence may be no address at all; only what begins with a scheme becomes a link.
_LINKIFY = _PARSER.linkify
assert _LINKIFY is not None
_LINKIFY.set({"fuzzy_link": False, "fuzzy_email": True, "fuzzy_ip": False})


def to_html(markdown: str) -> str:
    """Return the HTML of a Markdown text; addresses are judged by the sanitiser."""
    return str(_PARSER.render(markdown))
