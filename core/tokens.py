"""Signed links and sealed ids: one HMAC key per purpose, derived from the operator's signing keys.

A *token* goes into links. It names the key that signed it, so links in old mails outlive a rotation:
the first of `SIGNING_KEYS` signs, all of them verify. A *sealed id* is a row's number made opaque in
26 letters that survive case folding, short enough for a Message-ID or the local part of an envelope
sender (RFC 5321: 64 octets).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings

MAC_BYTES = 16
SEALED_ID_BYTES = 6
SEALED_MAC_BYTES = 10
SEALED_LENGTH = 26
MAX_TOKEN_LENGTH = 200
# key id, time of issue in seconds, then the row's number
_PAYLOAD = struct.Struct(">IIQ")
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]
_SHIFTS = range(120, -10, -10)
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class InvalidTokenError(Exception):
    """The token was not made by us for this purpose, or was changed."""


class ExpiredTokenError(InvalidTokenError):
    """The token was made by us for this purpose, too long ago."""


@dataclass(frozen=True)
class Opened:
    """A verified token: the row's primary key and the token's age in seconds."""

    pk: int
    age: int


@functools.lru_cache(maxsize=64)
def derive_key(purpose: str, master: str) -> bytes:
    """Return the 32-byte key for one purpose (HKDF-Expand with one block, RFC 5869)."""
    extracted = hmac.digest(b"courant", master.encode(), "sha256")
    return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")


@functools.lru_cache(maxsize=64)
def _mac_states(purpose: str, master: str) -> tuple[Any, Any]:
    """Return the two hashes of an HMAC with the key already taken in (RFC 2104).

    Copying them halves the time of a MAC, and every mail needs six, every imported row one.
    """
    key = derive_key(purpose, master).ljust(64, b"\0")
    return hashlib.sha256(bytes(byte ^ 0x36 for byte in key)), hashlib.sha256(bytes(byte ^ 0x5C for byte in key))


def _mac(states: tuple[Any, Any], message: bytes) -> bytes:
    inner, outer = states[0].copy(), states[1].copy()
    inner.update(message)
    outer.update(inner.digest())
    digest: bytes = outer.digest()
    return digest


@functools.lru_cache(maxsize=16)
def key_id(master: str) -> int:
    """Return the number that tokens carry to name the signing key: 32 bits of its hash."""
    return int.from_bytes(hashlib.sha256(b"key-id:" + master.encode()).digest()[:4], "big")


def make_token(purpose: str, pk: int, *, issued: int | None = None) -> str:
    """Return a URL-safe token of 43 characters for a row and a purpose such as "unsubscribe".

    `issued` is in seconds since the epoch, now by default; a mail passes the start of its issue,
    so that every attempt carries the same bytes.
    """
    return token_maker(purpose, int(time.time()) if issued is None else issued)(pk)


def token_maker(purpose: str, issued: int) -> Callable[[int], str]:
    """Return what `make_token` does for one purpose and moment, for whoever makes thousands of tokens."""
    return _token_maker(purpose, issued, settings.SIGNING_KEYS[0])


def _token_maker(purpose: str, issued: int, master: str) -> Callable[[int], str]:
    inner, outer = _mac_states(f"token:{purpose}", master)
    beginning = _PAYLOAD.pack(key_id(master), issued, 0)[:-8]

    def make(pk: int) -> str:
        payload = beginning + pk.to_bytes(8, "big")
        first, second = inner.copy(), outer.copy()
        first.update(payload)
        second.update(first.digest())
        encoded = binascii.b2a_base64(payload + second.digest()[:MAC_BYTES], newline=False)
        return encoded.translate(_URL_SAFE, b"=").decode()

    return make


def open_token(purpose: str, token: str, *, max_age: int | None = None) -> Opened:
    """Return what a token says.

    `max_age` is in seconds; without it a token never expires. Raises InvalidTokenError for anything
    not made by `make_token` with this purpose, ExpiredTokenError for a genuine one that is too old.
    """
    raw = _decode(token)
    payload, mac = raw[: _PAYLOAD.size], raw[_PAYLOAD.size :]
    if len(raw) != _PAYLOAD.size + MAC_BYTES:
        raise InvalidTokenError
    named, issued, pk = _PAYLOAD.unpack(payload)
    for master in settings.SIGNING_KEYS:
        if key_id(master) != named:
            continue
        expected = hmac.digest(derive_key(f"token:{purpose}", master), payload, "sha256")[:MAC_BYTES]
        if hmac.compare_digest(mac, expected):
            age = max(0, int(time.time()) - issued)
            if max_age is not None and age > max_age:
                raise ExpiredTokenError
            return Opened(pk=pk, age=age)
    raise InvalidTokenError


def _decode(token: str) -> bytes:
    if len(token) > MAX_TOKEN_LENGTH or not token.isascii():
        raise InvalidTokenError
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidTokenError from error
    # Base64 has several spellings of the same bytes: only the canonical one is ours.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != token:
        raise InvalidTokenError
    return raw


def seal_id(purpose: str, pk: int) -> str:
    """Return a row's number as 26 lower-case letters and digits, the same on every call.

    The number is masked with its own 80-bit MAC (a synthetic IV), so that neither order nor count
    shows. The oldest signing key seals: a rotation changes no Message-ID and no public id.
    """
    return sealer(purpose)(pk)


def sealer(purpose: str) -> Callable[[int], str]:
    """Return what `seal_id` does for one purpose, for whoever seals thousands of numbers."""
    return _sealer(purpose, settings.SIGNING_KEYS[-1])


@functools.lru_cache(maxsize=64)
def _sealer(purpose: str, master: str) -> Callable[[int], str]:
    inner, outer = _mac_states(f"seal:{purpose}", master)
    pairs = _PAIRS

    def seal(pk: int) -> str:
        first, second = inner.copy(), outer.copy()
        first.update(b"mac" + pk.to_bytes(SEALED_ID_BYTES, "big"))
        second.update(first.digest())
        mac = second.digest()[:SEALED_MAC_BYTES]
        first, second = inner.copy(), outer.copy()
        first.update(b"mask" + mac)
        second.update(first.digest())
        masked = pk ^ int.from_bytes(second.digest()[:SEALED_ID_BYTES], "big")
        # 128 bits are 13 pairs of letters once two zero bits are appended (RFC 4648 pads likewise).
        padded = (masked << 8 * SEALED_MAC_BYTES | int.from_bytes(mac, "big")) << 2
        return "".join([pairs[padded >> shift & 0x3FF] for shift in _SHIFTS])

    return seal


def open_sealed_id(purpose: str, sealed: str) -> int:
    """Return the number in a sealed id, upper or lower case. Raises InvalidTokenError."""
    if len(sealed) != SEALED_LENGTH or not sealed.isascii():
        raise InvalidTokenError
    try:
        raw = base64.b32decode(sealed.upper() + "======")
    except (binascii.Error, ValueError) as error:
        raise InvalidTokenError from error
    states = _mac_states(f"seal:{purpose}", settings.SIGNING_KEYS[-1])
    pk = _masked(int.from_bytes(raw[:SEALED_ID_BYTES], "big"), raw[SEALED_ID_BYTES:], states)
    if not hmac.compare_digest(seal_id(purpose, pk), sealed.lower()):
        raise InvalidTokenError
    return pk


def sealed_number(prefix: str, purpose: str, public_id: str) -> int:
    """Return the number in a public id such as "dlv_mfrgg…"; 0, which no row has, for what is not ours."""
    head, _, sealed = public_id.partition("_")
    try:
        return open_sealed_id(purpose, sealed) if head == prefix else 0
    except InvalidTokenError:
        return 0


def _masked(number: int, mac: bytes, states: tuple[Any, Any]) -> int:
    return number ^ int.from_bytes(_mac(states, b"mask" + mac)[:SEALED_ID_BYTES], "big")


def address_digest(address_key: str) -> bytes:
    """Return the 32-byte HMAC by which a suppressed address is known after its erasure.

    The oldest signing key makes it: rotation puts new keys in front, and digests must not change.
    """
    return _mac(_mac_states("address", settings.SIGNING_KEYS[-1]), address_key.encode())
