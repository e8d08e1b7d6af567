"""Types of text fields in API schemas: length as the column has it, no characters that could do harm."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

# The default of a field that a PATCH may leave out: never read, and null in its place is refused.
LEFT_OUT: Any = None
LINE_SEPARATORS = "\u2028\u2029"
# "Cc": C0, DEL and C1; "Cs": surrogates. Names and subjects become header lines.
REFUSED_CATEGORIES = ("Cc", "Cs")


_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Mc", "Me")
# Letters and symbols that leave a blank: Hangul fillers, the empty Braille pattern.
_BLANKS = "\u115f\u1160\u3164\uffa0\u2800"


def shows_something(text: str) -> bool:
    """Say whether a reader would see anything but spaces, format characters and marks that stand on nothing."""
    return any(letter not in _BLANKS and unicodedata.category(letter) not in _UNSEEN for letter in text)


def one_line(text: str) -> str:
    """Return the text when it is one line without control characters, else raise a field's error."""
    if any(letter in LINE_SEPARATORS or unicodedata.category(letter) in REFUSED_CATEGORIES for letter in text):
        raise PydanticCustomError("control_character", "Line breaks and control characters are not accepted")
    return text


def not_blank(text: str) -> str:
    """Return the text when there is something to see in it, else raise a field's error."""
    if not shows_something(text):
        raise PydanticCustomError("blank", "Must not be blank")
    return text


def many_lines(text: str) -> str:
    """Return the text when its only control characters are TAB, CR and LF, else raise a field's error."""
    if any(letter not in "\t\r\n" and unicodedata.category(letter) in REFUSED_CATEGORIES for letter in text):
        raise PydanticCustomError("control_character", "Control characters are not accepted")
    return text


Line = Annotated[str, AfterValidator(one_line)]
FilledLine = Annotated[str, StringConstraints(min_length=1), AfterValidator(one_line), AfterValidator(not_blank)]
Text = Annotated[str, AfterValidator(many_lines)]


class StrictInput(BaseModel):
    """A request body: unknown fields are refused, and no value is converted from another type."""

    model_config = ConfigDict(extra="forbid", strict=True)
