from __future__ import annotations

import pytest

from core.errors import InvalidError
from newsletters.publishing.header_text import check_header_text

FORBIDDEN = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xD800, 0xDFFF)]


def code_of(value: str, *, longest: int = 255) -> str:
    with pytest.raises(InvalidError) as raised:
        check_header_text("/from_name", value, longest=longest)
    assert [error.pointer for error in raised.value.errors] == ["/from_name"]
    return raised.value.code


@pytest.mark.parametrize(
    "character",
    FORBIDDEN,
    ids=lambda character: f"U+{ord(character):04X}",
)
def test_controls_line_separators_and_lone_surrogates_are_refused(character: str) -> None:
    assert code_of(f"Hi{character}there") == "control_character"


@pytest.mark.parametrize("ending", ["\n", "\r", "\r\n"])
def test_a_line_end_with_a_header_behind_it_is_refused(ending: str) -> None:
    assert code_of(f"Hi{ending}Bcc: evil@example.org") == "control_character"


@pytest.mark.parametrize(
    "encoded", ["=?utf-8?q?Hi=0ABcc:_x@example.org?=", "=?utf-8?q?Hi=0D=0A?=", "=?", "x =?utf-8?b?SGk=?="]
)
def test_encoded_words_are_refused(encoded: str) -> None:
    assert code_of(encoded) == "encoded_word"


def test_too_long_and_blank_texts_are_refused() -> None:
    assert code_of("a" * 256) == "too_long"
    assert code_of("a" * 101, longest=100) == "too_long"


@pytest.mark.parametrize("value", ["  \u00a0 ", "\u200b", "\u2060\u00ad", "\u202e", "\u0301" * 100, "\u3164 \u2800"])
def test_a_text_with_nothing_to_see_in_it_is_refused(value: str) -> None:
    assert code_of(value) == "only_spaces"


@pytest.mark.parametrize(
    "value", ["", "Hello", "\U0001f642" * 255, "é" * 255, "שלום", "a\u200db", "a=b?c", 'say "hi"', "!", "\U0001faea"]
)
def test_honest_texts_pass(value: str) -> None:
    check_header_text("/from_name", value)
