from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class KnownDevice(models.Model):
    """A browser or program that somebody has logged in from.

    `digest` is the SHA-256 of what it is known by: a random cookie, which alone is proof, or the name that a program
    gives itself.
    """

    user = models.ForeignKey("accounts.User", models.CASCADE, related_name="known_devices", db_index=False)
    digest = models.BinaryField(max_length=32)
    first_used_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="known_device_once")]

    def __str__(self) -> str:
        return f"device {self.pk}"
