"""Turn an editor's HTML into HTML that mail programs may show: an allow-list and a rule for links."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape

import nh3

from core.errors import FieldError, InvalidError
from newsletters.publishing.links import ACTIVE_SCHEMES, SCHEMES, problem_with
from newsletters.publishing.merge_tags import Marked
from newsletters.publishing.nesting import check_nesting


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TAGS = _words(
    "a abbr b big blockquote br caption center cite code col colgroup dd del dfn div dl dt em figcaption figure "
    "font h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strike strong sub sup table "
    "tbody td tfoot th thead tr tt u ul var wbr"
)
_EVERYWHERE = {"align", "dir", "lang", "style", "title"}
ATTRIBUTES = {
    "*": _EVERYWHERE,
    "a": {"href"},
    "img": {"src", "alt", "width", "height", "border"},
    "table": {"width", "height", "border", "cellpadding", "cellspacing", "bgcolor", "role"},
    "td": {"width", "height", "colspan", "rowspan", "valign", "bgcolor"},
    "th": {"width", "height", "colspan", "rowspan", "valign", "bgcolor", "scope"},
    "tr": {"valign", "bgcolor"},
    "col": {"span", "width"},
    "colgroup": {"span", "width"},
    "ol": {"start", "type"},
    "font": {"color", "face", "size"},
}
STYLE_PROPERTIES = _words(
    "background-color border border-bottom border-bottom-color border-bottom-style border-bottom-width "
    "border-collapse border-color border-left border-left-color border-left-style border-left-width border-radius "
    "border-right border-right-color border-right-style border-right-width border-spacing border-style border-top "
    "border-top-color border-top-style border-top-width border-width color direction display font font-family "
    "font-size font-style font-variant font-weight height letter-spacing line-height list-style-type margin "
    "margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width padding "
    "padding-bottom padding-left padding-right padding-top table-layout text-align text-decoration text-indent "
    "text-transform vertical-align white-space width word-break word-spacing word-wrap"
)
# Bounded and anchored, so that the search stays linear in any text.
_SCHEME_WORD = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,40}(?=:)")
_CONTENT_REMOVED = _words("script style title head noscript template object embed iframe svg math select")
_UNSAFE_STYLE = re.compile(r"url\s*\(|expression|image\s*\(|image-set|@|\\|/\*|javascript|[<>]", re.IGNORECASE)
_BACKGROUND = re.compile(r"background-color\s*:", re.IGNORECASE)
_TEXT_COLOUR = re.compile(r"(?:^|[;\s])color\s*:", re.IGNORECASE)
# The same as in the layout.
TEXT_COLOUR = "#24292b"
LONGEST_SHOWN = 100


@dataclass
class _AttributeRule:
    """Judges attributes one by one and gathers what the editor must be told."""

    marked: Marked
    pointer: str
    problems: list[FieldError] = field(default_factory=list)

    def __call__(self, tag: str, attribute: str, value: str) -> str | None:
        # Asked about every attribute, also of elements that are about to be removed.
        if tag not in TAGS:
            return None
        if attribute in ("href", "src"):
            return self._address(tag, value.strip())
        if attribute == "style":
            if self.marked.holds_marker(value):
                self._report("tag_in_style", "A merge tag must not stand in a style attribute.")
            return None if _UNSAFE_STYLE.search(value) else _with_text_colour(value)
        # A whole address among text would be cut apart; it belongs into href or into the text itself.
        if self.marked.link_marker.search(value):
            self._report("misplaced_tag", f"{{{{ unsubscribe_url }}}} must not stand in the attribute {attribute}.")
        return value

    def _address(self, tag: str, url: str) -> str | None:
        if self.marked.link_marker.fullmatch(url) and tag == "a":
            return url
        if self.marked.link_marker.search(url):
            self._report("misplaced_tag", "{{ unsubscribe_url }} is a whole address and stands alone in a link.")
            return None
        if url.partition(":")[0].strip().lower() in ACTIVE_SCHEMES:
            return None
        problem = problem_with(url, marker=self.marked.nonce, image=tag == "img")
        if problem is None:
            return self.marked.in_url(url)
        kind = "image" if tag == "img" else "link"
        self._report("invalid_link", f"The {kind} {self._shown(url)!r} {problem}.")
        return None

    def _shown(self, url: str) -> str:
        shown = self.marked.unmarked(url)
        return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"

    def _report(self, code: str, detail: str) -> None:
        self.problems.append(FieldError(code=code, detail=detail, pointer=self.pointer))


def _with_text_colour(style: str) -> str:
    """Give a background without a text colour ours: in dark mode it would inherit a light one."""
    if _BACKGROUND.search(style) and not _TEXT_COLOUR.search(style):
        return f"{style.rstrip('; ')};color:{TEXT_COLOUR}"
    return style


def _schemes_in(html: str) -> set[str]:
    """Return whatever may be a scheme: the sanitiser drops the others silently, and the rule names these."""
    found = {word.lower() for word in _SCHEME_WORD.findall(unescape(html))}
    return found.union(SCHEMES).difference(ACTIVE_SCHEMES)


def sanitise(html: str, *, marked: Marked, pointer: str) -> str:
    """Return the allowed part of the HTML, with the markers in its addresses saying so.

    Active content goes without a word: scripts, handlers, frames, forms, `javascript:` addresses.
    Raises InvalidError `html_too_complex`, or `invalid_link` and the like naming every refused address.
    """
    check_nesting(pointer, html)
    rule = _AttributeRule(marked=marked, pointer=pointer)
    cleaned = nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        clean_content_tags=_CONTENT_REMOVED - TAGS,
        attribute_filter=rule,
        link_rel=None,
        url_schemes=_schemes_in(html),
        filter_style_properties=STYLE_PROPERTIES,
    )
    if rule.problems:
        first = rule.problems[0]
        raise InvalidError(first.code, first.detail, errors=rule.problems[:20])
    # Closing what was left open may have multiplied it; everything after this walks the tree.
    check_nesting(pointer, cleaned)
    return cleaned
