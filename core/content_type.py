"""The Content-Type that reaches Django: one that it can read, or none.

Django takes its parameters apart before any middleware runs, and decodes the query by the charset named there. An
encoded parameter of an unknown charset (RFC 2231), or a charset such as `hex` that is none, would be a 500 without
a log line, wherever it is sent to. What is not of the form in RFC 9110, 8.3.1 counts as no type at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

WSGI = Callable[[dict[str, Any], Any], Iterable[bytes]]

# No asterisk, which ends the name of an encoded parameter: no type that we take has one. Possessive quantifiers keep
# the search linear.
_WORD = r"[A-Za-z0-9!#$%&'+.^_`|~-]++"
_QUOTED = r'"(?:[^"\\]|\\.)*+"'
_FORM = re.compile(rf"[ \t]*+{_WORD}/{_WORD}(?:[ \t]*+;[ \t]*+(?:{_WORD}=(?:{_WORD}|{_QUOTED}))?+)*+[ \t]*+")
_CHARSET = re.compile(rf";[ \t]*+charset=({_WORD}|{_QUOTED})", re.IGNORECASE)
_UTF_8 = ("utf-8", "utf8")


def readable(content_type: str) -> str:
    """Return a Content-Type as it came, or nothing where it has an odd form or another charset than UTF-8."""
    if not _FORM.fullmatch(content_type):
        return ""
    named = {charset.strip('"').lower() for charset in _CHARSET.findall(content_type)}
    return content_type if named <= set(_UTF_8) else ""


def with_readable_types(application: WSGI) -> WSGI:
    """Return the application, called with readable types only."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["CONTENT_TYPE"] = readable(environ.get("CONTENT_TYPE", ""))
        return application(environ, start_response)

    return call
