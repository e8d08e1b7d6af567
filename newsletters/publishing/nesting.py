"""Bounds on HTML that are checked before a parser builds a tree of it.

An HTML5 parser needs time quadratic in the depth of nesting, and repeats unclosed formatting elements
in every later block. So size, number of tags, depth and repetition are bounded by one linear scan.
"""

from __future__ import annotations

import re

from core.errors import InvalidError, invalid_field

LARGEST_BODY = 512 * 1024
DEEPEST = 200
MOST_TAGS = 10_000
# Copies of unclosed formatting elements that the parser may have to make.
MOST_REPETITIONS = 20_000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _words("area base br col embed hr img input link meta source track wbr")
_FORMATTING = _words("a b big code em font i nobr s small strike strong tt u")
# A second one of these closes the first.
_SIBLINGS = _words("p li dt dd tr td th option")
_RAW = _words("script style title textarea xmp iframe noembed noframes")
_TOKEN = re.compile(
    r"<!--.*?(?:-->|--!>|\Z)"
    # Possessive quantifiers keep the scan linear: what was taken is never given back.
    r"|<(/?)([A-Za-z][^\s/>]*+)"
    r"(?:[\s/]++|[^\s/>=][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+\"?|'[^']*+'?|[^\s>\"'][^\s>]*+)?)?|=)*+>?",
    re.DOTALL,
)
_OPENING = re.compile(r"<[A-Za-z]")


def check_size(pointer: str, body: str) -> None:
    """Raise InvalidError `too_long` for a body of more than 512 KB in UTF-8."""
    if len(body) > LARGEST_BODY or len(body.encode("utf-8", "surrogatepass")) > LARGEST_BODY:
        raise invalid_field(pointer, "too_long", f"A body has at most {LARGEST_BODY // 1024} KB.")


def check_nesting(pointer: str, html: str) -> None:
    """Raise InvalidError `html_too_complex` for too many, too deep or badly nested tags."""
    if html.count("<") > 3 * MOST_TAGS or sum(1 for _ in _OPENING.finditer(html)) > MOST_TAGS:
        raise _too_complex(pointer, f"has more than {MOST_TAGS} tags")
    stack: list[str] = []
    dangling = repetitions = 0
    raw = ""
    for match in _TOKEN.finditer(html):
        name = (match[2] or "").lower()
        if not name or (raw and not (match[1] and name == raw)):
            continue
        if match[1]:
            raw = ""
            dangling += _close(stack, name)
            continue
        repetitions += dangling
        _open(stack, name)
        raw = name if name in _RAW else ""
        if len(stack) > DEEPEST:
            raise _too_complex(pointer, f"is nested more than {DEEPEST} tags deep")
        if repetitions > MOST_REPETITIONS:
            raise _too_complex(pointer, "leaves too many formatting tags unclosed")


def _open(stack: list[str], name: str) -> None:
    if name in _VOID:
        return
    if name in _SIBLINGS and stack and stack[-1] == name:
        stack.pop()
    stack.append(name)


def _close(stack: list[str], name: str) -> int:
    """Close the innermost element of that name and return how many formatting elements it cut off."""
    if name not in stack:
        return 0
    cut_off = 0
    while (popped := stack.pop()) != name:
        cut_off += popped in _FORMATTING
    return cut_off


def _too_complex(pointer: str, reason: str) -> InvalidError:
    return invalid_field(pointer, "html_too_complex", f"The HTML {reason}.")
