"""What may stand in a header: names, subjects and reply addresses as people type them."""

from __future__ import annotations

import re

from core.errors import invalid_field
from core.text_types import shows_something

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CONTROLS_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_header_text(pointer: str, value: str, *, longest: int = 255) -> None:
    """Raise InvalidError unless the value may stand in a header.

    `pointer` is the field's JSON pointer such as "/subject". Codes: `control_character` (C0, C1, U+2028,
    U+2029, lone surrogates), `encoded_word` ("=?", which mail programs would decode), `too_long` (more
    than `longest` characters). An empty value is the caller's to judge.
    """
    check_plain_text(pointer, value, longest=longest)
    if "=?" in value:
        raise invalid_field(pointer, "encoded_word", 'This text must not contain "=?", which begins an encoded word.')


def check_plain_text(pointer: str, value: str, *, longest: int) -> None:
    """Raise InvalidError `control_character`, `too_long` or `only_spaces` for a one-line text."""
    check_characters(pointer, value)
    if len(value) > longest:
        raise invalid_field(pointer, "too_long", f"This text has at most {longest} characters.")
    if value and not shows_something(value):
        raise invalid_field(pointer, "only_spaces", "There is nothing to see in this text.")


def check_characters(pointer: str, value: str, *, lines: bool = False) -> None:
    """Raise InvalidError `control_character` for a character that no mail can carry.

    `lines` allows tabs and line ends.
    """
    found = (_CONTROLS_BUT_LINES if lines else _CONTROLS).search(value)
    if found:
        raise invalid_field(
            pointer,
            "control_character",
            f"Character {found.start() + 1} is U+{ord(found[0]):04X}, which must not stand here.",
        )
