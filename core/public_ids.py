"""Public ids such as iss_01k…: a prefix and a UUID in 26 characters (the TypeID specification, v0.3)."""

from __future__ import annotations

import secrets
import struct
import time
import uuid

from core.errors import NotFoundError

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
LENGTH = 26
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def uuid7() -> uuid.UUID:
    """Return a time-ordered UUID (RFC 9562, version 7): new rows land side by side in an index."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def many_uuid7(count: int) -> list[str]:
    """Return `count` ids as `uuid7` makes them, ascending, in 32 hexadecimal digits: ten times as fast.

    The twelve bits after the time count up (RFC 9562, 6.2), 62 bits are random.
    """
    moment = f"{time.time_ns() // 1_000_000:012x}7"
    random = struct.unpack(f"{count}Q", secrets.token_bytes(8 * count))
    return [f"{moment}{place * 4096 // count:03x}{0x8 << 60 | number >> 2:016x}" for place, number in enumerate(random)]


def encode(prefix: str, value: uuid.UUID) -> str:
    """Return the public form of a UUID."""
    number = value.int
    return f"{prefix}_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def decode(prefix: str, public_id: str) -> uuid.UUID:
    """Return the UUID in a public id; raises NotFoundError for any other text."""
    head, _, tail = public_id.rpartition("_")
    if head != prefix or len(tail) != LENGTH or not set(tail) <= _VALUES.keys() or tail[0] > "7":
        raise NotFoundError("not_found", "There is no such object.")
    number = 0
    for letter in tail:
        number = number << 5 | _VALUES[letter]
    return uuid.UUID(int=number)
