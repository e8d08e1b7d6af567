from __future__ import annotations

from django.db import models


class KeyLimit(models.Model):
    """A newsletter that a `limited` API key may reach; it reaches what belongs to these and nothing else."""

    api_key = models.ForeignKey("accounts.ApiKey", models.CASCADE, related_name="limits", db_index=False)
    newsletter = models.ForeignKey("newsletters.Newsletter", models.CASCADE, related_name="key_limits")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["api_key", "newsletter"], name="key_limit_once")]

    def __str__(self) -> str:
        return f"{self.api_key}: {self.newsletter}"
