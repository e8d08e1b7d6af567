"""What may be stored about a reader besides the address: a name and attributes for merge tags."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from core.errors import invalid_field

MAX_NAME_LENGTH = 100
MAX_ATTRIBUTES = 64
MAX_ATTRIBUTE_LENGTH = 1024
MAX_EXACT_NUMBER = 2**53
ATTRIBUTE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
# Line and paragraph separators end a line in some programs; Unicode files them apart from the controls.
_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}


def checked_name(name: str) -> str:
    """Return the name without outer spaces.

    Raises InvalidError `control_character` or `too_long` (over 100 characters), pointing at "/name".
    """
    if len(name) > MAX_NAME_LENGTH:
        raise invalid_field("/name", "too_long", f"A name has at most {MAX_NAME_LENGTH} characters.")
    if has_control_character(name):
        raise invalid_field("/name", "control_character", "A name must not contain control characters.")
    return name.strip()


def checked_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes as a plain dictionary.

    At most 64; names are lower-case letters, digits and underscores (40 at most, a letter first);
    values are text of at most 1,024 characters, numbers, true, false or null. Raises InvalidError
    `too_many_attributes`, `invalid_attribute_name` or `invalid_attribute_value`.
    """
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid_field("/attributes", "too_many_attributes", f"A reader has at most {MAX_ATTRIBUTES} attributes.")
    for name, value in attributes.items():
        if not ATTRIBUTE_NAME.match(name):
            raise invalid_field(
                "/attributes",
                "invalid_attribute_name",
                "An attribute's name has up to 40 lower-case letters, digits and underscores, a letter first.",
            )
        if not _is_scalar(value):
            raise invalid_field(
                f"/attributes/{name}",
                "invalid_attribute_value",
                f"A value is text of at most {MAX_ATTRIBUTE_LENGTH} characters without control characters, "
                "a number up to 2 to the 53rd, true, false or null.",
            )
    return dict(attributes)


def has_control_character(text: str) -> bool:
    """Say whether the text has a character that breaks lines, ends strings or cannot be encoded."""
    # isprintable is quick and right for almost every text; only what it refuses needs a closer look.
    if text.isprintable():
        return False
    return any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in text)


def _is_scalar(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    # PostgreSQL gives 1e300 back as a whole number of 301 digits, which we would not take again. No NaN is less.
    if isinstance(value, int | float):
        return abs(value) <= MAX_EXACT_NUMBER
    if not isinstance(value, str) or len(value) > MAX_ATTRIBUTE_LENGTH:
        return False
    return not has_control_character(value.replace("\n", " ").replace("\t", " "))
