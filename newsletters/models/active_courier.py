from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class ActiveCourier(models.Model):
    """A worker process that delivers now: limits that hold for all of them together are divided by their number.

    A process that has not been seen for 15 seconds counts no more.
    """

    holder = models.UUIDField(primary_key=True)
    joined_at = models.DateTimeField(db_default=Now(), editable=False)
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"courier {self.holder}"
