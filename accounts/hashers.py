"""Argon2id at OWASP's setting of 19 MiB and one lane: Django's default takes 100 MiB for each log-in."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2Hasher(Argon2PasswordHasher):
    """Argon2id, m = 19,456 KiB, t = 2, p = 1 (OWASP Password Storage Cheat Sheet)."""

    memory_cost = 19_456
    time_cost = 2
    parallelism = 1
