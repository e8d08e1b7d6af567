"""The parser of JSON bodies: what is ambiguous, lossy or hostile is refused instead of repaired.

Python's `json` takes the last of two equal keys, NaN, UTF-16 and lone surrogates; a database then stores
something other than the client meant, or fails (RFC 8259 sections 4, 6, 8; RFC 7493, I-JSON).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Never

from django.http import HttpRequest
from ninja.parser import Parser

from core.errors import BadRequestError, CourantError, UnsupportedMediaTypeError, invalid_field
from core.uploads import whole_body

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 19
MAX_KEYS = 1_000
MAX_NAME_SHOWN = 60
_SURROGATE = re.compile("[\ud800-\udfff]")
_TWICE = object()


class StrictParser(Parser):
    """Reads the body of every JSON operation; raises CourantError (400, 415 or 422)."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        check_media_type(request, "application/json")
        return parse_object(whole_body(request))


def check_media_type(request: HttpRequest, expected: str) -> None:
    """Refuse a body of another type, another charset or a content encoding with 415."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError("content_encoding_not_supported", "Send the body without Content-Encoding.")
    charset = (request.content_params or {}).get("charset", "utf-8").lower()
    if request.content_type != expected or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaTypeError(
            "media_type_not_supported", f"Send the body as {expected} in UTF-8 and say so in Content-Type."
        )


def parse_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`.

    Raises BadRequestError for what is not JSON in UTF-8, InvalidError for JSON with two equal keys,
    numbers beyond 64 bits or not finite, NUL, lone surrogates, depth over 32, objects of more than 1,000 keys, or
    for anything but an object.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequestError("invalid_json", "The body is not valid UTF-8.") from error
    if text.startswith("\ufeff"):
        raise BadRequestError("invalid_json", "The body begins with a byte order mark.")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequestError("invalid_json", f"The body is not JSON: {error.msg} at {where}.") from error
    except RecursionError as error:
        raise BadRequestError("invalid_json", "The body is nested too deeply.") from error
    if not isinstance(value, dict):
        raise invalid_field("", "object_expected", "The body must be a JSON object.")
    for fault in _faults(value):
        raise fault
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise invalid_field("", "too_many_keys", f"An object has more than {MAX_KEYS} keys.")
    result: dict[str, Any] = {}
    for name, value in pairs:
        # Where this object stands is known only to the walk over the whole.
        result[name] = _TWICE if name in result else value
    return result


def _refuse_constant(name: str) -> Never:
    raise invalid_field("", "number_not_finite", f"{name} is not a JSON number.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise invalid_field("", "number_not_finite", "A number is too large.")
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise invalid_field("", "number_too_large", f"An integer has more than {MAX_INTEGER_DIGITS} digits.")
    return int(digits)


def escape(name: str) -> str:
    """Return an object's key as a reference token of a JSON pointer (RFC 6901)."""
    printable = name.encode("utf-8", "replace").decode().replace("\0", "?")
    return printable.replace("~", "~0").replace("/", "~1")


def _faults(root: dict[str, Any]) -> Iterator[CourantError]:
    """Walk without recursion, so that depth cannot exhaust the stack, in the order of the body.

    A pointer is only made for a fault: one for each value would take a thousand times the body's memory.
    """
    path: list[str | int] = []
    # What is left of the object or list at each step of the path.
    left = [_members(root)]
    while left:
        for name, value in left[-1]:
            if isinstance(name, str) and (found := _text_fault(name)):
                yield invalid_field(_pointer(path), *found)
            if value is _TWICE:
                yield invalid_field(_pointer([*path, name]), "duplicate_key", "The same key stands twice in an object.")
            elif isinstance(value, str) and (found := _text_fault(value)):
                yield invalid_field(_pointer([*path, name]), *found)
            elif isinstance(value, dict | list):
                path.append(name)
                if len(left) == MAX_DEPTH:
                    yield invalid_field(_pointer(path), "too_deep", f"Values may be nested {MAX_DEPTH} levels deep.")
                    return
                left.append(_members(value))
                break
        else:
            left.pop()
            del path[-1:]


def _members(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    return iter(value.items()) if isinstance(value, dict) else iter(enumerate(value))


def _pointer(path: Sequence[str | int]) -> str:
    return "".join(f"/{escape(str(step)[:MAX_NAME_SHOWN])}" for step in path)


def _text_fault(text: str) -> tuple[str, str] | None:
    """Return the code and the sentence for what must not be stored."""
    if "\0" in text:
        return "control_character", "The NUL character is not accepted."
    if not text.isascii() and _SURROGATE.search(text):
        return "lone_surrogate", "Half of a surrogate pair is not a character."
    return None
