"""The mail that every part sends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mail:
    """A mail as Courant composes it.

    `size` is the average number of bytes of DATA, `sample` the mail to the reader `name` at `address`,
    `connections` how many SMTP connections all workers together may have open.
    """

    size: float
    sample: bytes
    sender: str
    address: str
    name: str
    connections: int
