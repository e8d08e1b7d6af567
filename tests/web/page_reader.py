"""What an HTML page is made of, for tests about every page alike."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

# Inputs that name themselves, or that nobody sees.
UNLABELLED = {"hidden", "submit", "button"}


@dataclass
class Page:
    """The facts of one page; `faults` are the sentences that say what is wrong with it."""

    title: str = ""
    headings: list[str] = field(default_factory=list)
    labelled: set[str] = field(default_factory=set)
    fields: list[dict[str, str]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    mains: int = 0
    language: str = ""
    faults: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._inside = ""
        self._in_label = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        page = self.page
        if "id" in found:
            page.ids.append(found["id"])
        if "style" in found or tag == "style":
            page.faults.append(f"<{tag}> has a style of its own")
        page.faults += [f"<{tag}> has {name}" for name in found if name.startswith("on")]
        page.addresses += [found[name] for name in ("href", "src", "action") if name in found]
        if tag == "script" and "src" not in found and found.get("type") != "application/json":
            page.faults.append("a script stands in the page")
        if tag in ("title", "h1"):
            self._inside = tag
            if tag == "h1":
                page.headings.append("")
        page.mains += tag == "main"
        page.language = found.get("lang", page.language) if tag == "html" else page.language
        if tag == "label":
            self._in_label += 1
            page.labelled.add(found.get("for", ""))
        if tag in ("input", "select", "textarea") and found.get("type") not in UNLABELLED:
            page.fields.append(found | ({"labelled": "yes"} if self._in_label else {}))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""
        self._in_label -= tag == "label"

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.page.title += data
        elif self._inside == "h1":
            self.page.headings[-1] += data


def read_page(html: str) -> Page:
    """Return the facts of a page, with all that is wrong with it in `faults`."""
    reader = _Reader()
    reader.feed(html)
    page = reader.page
    page.title = " ".join(page.title.split())
    page.headings = [" ".join(heading.split()) for heading in page.headings]
    if page.title in ("", "· Courant"):
        page.faults.append("it has no title")
    if len(page.headings) != 1 or not all(page.headings):
        page.faults.append(f"its headings of the first level are {page.headings}")
    if page.mains != 1:
        page.faults.append(f"it has {page.mains} main landmarks")
    if page.language != "en":
        page.faults.append("it says no language")
    for twice in {name for name in page.ids if page.ids.count(name) > 1}:
        page.faults.append(f"the id {twice} stands there twice")
    for entry in page.fields:
        if entry.get("id") not in page.labelled and "labelled" not in entry:
            page.faults.append(f"the field {entry.get('name')} has no label")
        for name in entry.get("aria-describedby", "").split():
            if name not in page.ids:
                page.faults.append(f"the field {entry.get('name')} is described by {name}, which is missing")
    page.faults += [f"it leads to another host: {it}" for it in page.addresses if re.match(r"\s*(https?:)?//", it)]
    return page


def check(response: Any, *, status: int = 200) -> Page:
    """Check an answer of the site that is a page, and return what it is made of."""
    assert response.status_code == status, response
    page = read_page(response.content.decode())
    assert page.faults == []
    assert "no-store" in response["Cache-Control"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert response["X-Frame-Options"] == "DENY"
    # Not "no-referrer": the browser would hide the origin of the page's own form as well, and be refused.
    assert response["Referrer-Policy"] == "same-origin"
    return page
