"""Keyset pagination on the primary key: nothing is skipped or repeated while rows come and go, and nothing is counted.

A cursor is 32 characters: the last row's number and a MAC that binds it to one list (caller, address,
filters), so that a cursor says nothing and fits nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TypeVar

from django.conf import settings
from django.db.models import Model, QuerySet

from core.errors import BadRequestError
from core.tokens import MAC_BYTES, derive_key

M = TypeVar("M", bound=Model)
DEFAULT_LIMIT = 50
MAX_LIMIT = 200
NUMBER_BYTES = 8
CURSOR_LENGTH = 32


def cut_page(
    rows: QuerySet[M], *, binding: str, cursor: str | None, limit: int, newest_first: bool = True
) -> tuple[list[M], str | None]:
    """Return up to `limit` rows after the cursor, and the next cursor or None at the end.

    `binding` names the list: caller, address and filters. Raises BadRequestError `invalid_cursor`.
    """
    if cursor is not None:
        last = open_cursor(cursor, binding)
        rows = rows.filter(pk__lt=last) if newest_first else rows.filter(pk__gt=last)
    found = list(rows.order_by("-pk" if newest_first else "pk")[: limit + 1])
    if len(found) <= limit:
        return found, None
    return found[:limit], make_cursor(found[limit - 1].pk, binding)


def make_cursor(pk: int, binding: str) -> str:
    """Return the cursor that continues after row `pk` of the list that `binding` names."""
    number = pk.to_bytes(NUMBER_BYTES, "big")
    return base64.urlsafe_b64encode(number + _mac(number, binding, settings.SIGNING_KEYS[0])).decode()


def open_cursor(cursor: str, binding: str) -> int:
    """Return the row's number in a cursor. Raises BadRequestError `invalid_cursor`."""
    try:
        raw = base64.b64decode(cursor[: CURSOR_LENGTH + 1].encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    number, mac = raw[:NUMBER_BYTES], raw[NUMBER_BYTES:]
    expected = [_mac(number, binding, key) for key in settings.SIGNING_KEYS]
    if len(cursor) != CURSOR_LENGTH or not any(hmac.compare_digest(mac, one) for one in expected):
        raise BadRequestError("invalid_cursor", "The cursor does not belong to this list and its filters.")
    return int.from_bytes(number, "big")


def _mac(number: bytes, binding: str, master: str) -> bytes:
    message = number + hashlib.sha256(binding.encode()).digest()
    return hmac.digest(derive_key("cursor", master), message, "sha256")[:MAC_BYTES]
