"""The plain-text form of a body: readable by itself, every link shown."""

from __future__ import annotations

import re

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_properties import Display, WhiteSpace
from inscriptis.model.config import ParserConfig
from inscriptis.model.html_element import HtmlElement
from lxml import html as lxml_html  # type: ignore[import-untyped]  # lxml carries no types
from lxml.etree import tostring  # type: ignore[import-untyped]  # lxml carries no types

_STYLES = CSS_PROFILES["strict"] | {
    "blockquote": HtmlElement(display=Display.block, margin_before=1, margin_after=1, padding_inline=4),
    "pre": HtmlElement(display=Display.block, whitespace=WhiteSpace.pre, margin_before=1, margin_after=1),
}
_CONFIG = ParserConfig(css=_STYLES, display_links=False, display_images=False)
_UNDERLINES = {"h1": "=", "h2": "-"}
_LONGEST_UNDERLINE = 72
_BLANK_LINES = re.compile(r"\n{3,}")
_RULE = "-" * 40


def to_text(html: str) -> str:
    """Return sanitised HTML as plain text with LF line ends, neither blank at its ends nor padded."""
    root = lxml_html.fragment_fromstring(html, create_parent="div")
    for link in root.iter("a"):
        _show_address(link)
    for image in list(root.iter("img")):
        alternative = " ".join((image.get("alt") or "").split())
        _replace(image, f"[{alternative}]" if alternative else "")
    for code in root.xpath("//pre//code"):
        code.drop_tag()
    for heading in root.iter(*_UNDERLINES):
        _underline(heading)
    for rule in root.iter("hr"):
        rule.tag, rule.text = "p", _RULE
    text: str = get_text(tostring(root, encoding="unicode", method="html"), _CONFIG)
    lines = [line.rstrip() for line in text.split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _show_address(link: lxml_html.HtmlElement) -> None:
    address = link.get("href") or ""
    shown = "".join(link.itertext()).strip()
    if not address or shown in (address, address.removeprefix("mailto:")):
        return
    # Behind the link's own text, inside the link, so that it stays in its cell or list item.
    last = link[-1] if len(link) else None
    if last is None:
        link.text = f"{link.text or ''} ({address})"
    else:
        last.tail = f"{last.tail or ''} ({address})"


def _underline(heading: lxml_html.HtmlElement) -> None:
    shown = " ".join("".join(heading.itertext()).split())
    if not shown:
        return
    line = lxml_html.Element("br")
    line.tail = _UNDERLINES[heading.tag] * min(len(shown), _LONGEST_UNDERLINE)
    heading.append(line)


def _replace(element: lxml_html.HtmlElement, text: str) -> None:
    """Put a text in place of an element, keeping what follows it."""
    element.text, element.tag = text, "span"
    element.attrib.clear()
