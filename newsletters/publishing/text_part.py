"""The plain-text form of a body: readable by itself, every link shown."""

from __future__ import annotations

import re
from itertools import zip_longest

from inscriptis import get_text
from inscriptis.css_profiles import CSS_PROFILES
from inscriptis.html_properties import Display, WhiteSpace
from inscriptis.model.canvas import Canvas
from inscriptis.model.config import ParserConfig
from inscriptis.model.css import CssParse
from inscriptis.model.html_document_state import HtmlDocumentState
from inscriptis.model.html_element import HtmlElement
from inscriptis.model.table import Table
from inscriptis.model.tag import CustomHtmlTagHandlerMapping
from lxml import html as lxml_html  # type: ignore[import-untyped]  # lxml carries no types
from lxml.etree import tostring  # type: ignore[import-untyped]  # lxml carries no types

_STYLES = CSS_PROFILES["strict"] | {
    "blockquote": HtmlElement(display=Display.block, margin_before=1, margin_after=1, padding_inline=4),
    "pre": HtmlElement(display=Display.block, whitespace=WhiteSpace.pre, margin_before=1, margin_after=1),
}
# A table may be this much longer than what stands in it, and a small one as long as that.
_MOST_PADDING = 8
_SMALL_TABLE = 2_000
# Lists and quotations are indented as far as this many levels.
_DEEPEST = 10
_INDENTED = ("ul", "ol", "blockquote")
# Of a style what hides a text or keeps its lines. Margins and paddings of 100,000 characters are soon typed.
_HEEDED = {"display": CssParse.attr_display, "white-space": CssParse.attr_white_space}
_UNDERLINES = {"h1": "=", "h2": "-"}
_LONGEST_UNDERLINE = 72
_BLANK_LINES = re.compile(r"\n{3,}")
_RULE = "-" * 40


class _Table(Table):  # type: ignore[misc]  # the package says nothing of its types
    """A table whose cells stand one below the other where padding its columns would make it many times as long."""

    def get_text(self) -> str:
        height = sum(max((cell.normalize_blocks() for cell in row.columns), default=0) for row in self.rows)
        columns = zip_longest(*(row.columns for row in self.rows))
        width = sum(max(cell.width for cell in column if cell is not None) for column in columns)
        lines = [line for row in self.rows for cell in row.columns for line in cell.blocks]
        # Spaces do not count: those of a table inside this one are padding too.
        content = sum(len(line) - line.count(" ") for line in lines)
        if height * width > max(_SMALL_TABLE, _MOST_PADDING * content):
            return "\n".join([*lines, ""])
        return str(super().get_text())


def _begin_table(state: HtmlDocumentState, _attributes: dict[str, str]) -> None:
    state.tags[-1].set_canvas(Canvas())
    margin = state.tags[-1].canvas.left_margin
    state.current_table.append(_Table(left_margin_len=margin, cell_separator=state.config.table_cell_separator))


def _apply_style(style: str, element: HtmlElement) -> None:
    for declaration in style.lower().split(";"):
        name, _, value = declaration.partition(":")
        if (apply := _HEEDED.get(name.strip())) is not None:
            apply(value.strip(), element)


_CONFIG = ParserConfig(
    css=_STYLES,
    display_links=False,
    display_images=False,
    custom_html_tag_handler_mapping=CustomHtmlTagHandlerMapping({"table": _begin_table}, {}),
)
_CONFIG.attribute_handler.attribute_mapping = {"style": _apply_style}


def to_text(html: str) -> str:
    """Return sanitised HTML as plain text with LF line ends, neither blank at its ends nor padded.

    It is at most some twenty times as long as the HTML, whatever stands in that.
    """
    root = lxml_html.fragment_fromstring(html, create_parent="div")
    for link in root.iter("a"):
        _show_address(link)
    for image in list(root.iter("img")):
        alternative = " ".join((image.get("alt") or "").split())
        _replace(image, f"[{alternative}]" if alternative else "")
    for code in root.xpath("//pre//code"):
        code.drop_tag()
    for indented in list(root.iter(*_INDENTED)):
        if sum(1 for _ in indented.iterancestors(*_INDENTED)) >= _DEEPEST:
            indented.tag = "div"
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
