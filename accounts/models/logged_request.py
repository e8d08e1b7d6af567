from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class LoggedRequest(models.Model):
    """One request that came with a good key, and its answer; written by `accounts.journal`, kept for 30 days.

    `code` is that of the error, empty for success; `request_id` is the answer's X-Request-Id.
    """

    id = models.BigAutoField(primary_key=True)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="+", db_index=False)
    api_key = models.ForeignKey("accounts.ApiKey", models.CASCADE, related_name="+", db_index=False)
    at = models.DateTimeField(db_default=Now())
    request_id = models.CharField(max_length=32)
    method = models.CharField(max_length=10)
    operation = models.CharField(max_length=80)
    status = models.PositiveSmallIntegerField()
    code = models.CharField(max_length=60, blank=True)
    milliseconds = models.FloatField()

    class Meta:
        # For GET /api-requests, the newest first.
        indexes = [models.Index(fields=["publisher", "id"], name="logged_request_of_publisher")]

    def __str__(self) -> str:
        return f"{self.method} {self.operation} {self.status}"
