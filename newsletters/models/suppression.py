from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class SuppressionReason(models.TextChoices):
    """Why nothing is sent to an address any more."""

    BOUNCED = "bounced"
    COMPLAINED = "complained"
    ERASED = "erased"
    MANUAL = "manual"


class Suppression(models.Model):
    """An address that gets no mail from a publisher, known by its HMAC only, so it outlives erasure."""

    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="suppressions", db_index=False)
    address_digest = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=12, choices=SuppressionReason)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "address_digest"], name="suppression_once"),
            models.CheckConstraint(
                condition=models.Q(reason__in=SuppressionReason.values), name="suppression_reason_known"
            ),
        ]

    def __str__(self) -> str:
        return f"suppressed: {self.reason}"
