"""The mail that every part sends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mail:
    """`size` is the average number of bytes of DATA; `sample` is the mail to one reader."""

    size: float
    sample: bytes
    sender: str
    address: str
    name: str
