"""Argon2 at its least: most tests need a password, and not that guessing one is hard."""

from __future__ import annotations

from accounts.hashers import Argon2Hasher


class QuickHasher(Argon2Hasher):
    """A thousandth of a deployment's work, 0.02 ms for 23 ms. What counts calls of Argon2Hasher counts these."""

    memory_cost = 64
    time_cost = 1
