"""Argon2id at OWASP's setting of 19 MiB and one lane: Django's default takes 100 MiB for each log-in."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2Hasher(Argon2PasswordHasher):
    """Argon2id, m = 19,456 KiB, t = 2, p = 1 (OWASP Password Storage Cheat Sheet)."""

    memory_cost = 19_456
    time_cost = 2
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        return super().encode(_text(password), salt)

    def verify(self, password: str, encoded: str) -> bool:
        return super().verify(_text(password), encoded)


def _text(password: str) -> str:
    # JSON can hold lone surrogates, which no UTF-8 has and argon2 therefore raises on.
    return password.encode(errors="replace").decode()
