from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class Scope(models.TextChoices):
    """What a key may do. Sending is apart from writing: a draft can be undone, a mail cannot."""

    NEWSLETTERS_READ = "newsletters:read"
    NEWSLETTERS_WRITE = "newsletters:write"
    SUBSCRIBERS_READ = "subscribers:read"
    SUBSCRIBERS_WRITE = "subscribers:write"
    SUBSCRIBERS_CONSENT = "subscribers:consent"
    ISSUES_READ = "issues:read"
    ISSUES_WRITE = "issues:write"
    ISSUES_SEND = "issues:send"
    REQUESTS_READ = "requests:read"
    AUDIT_READ = "audit:read"

    @classmethod
    def reading(cls) -> list[str]:
        """Return the scopes of somebody who reads what is published; who did what is the owners' business."""
        owners = {cls.REQUESTS_READ, cls.AUDIT_READ}
        return [scope.value for scope in cls if scope.endswith(":read") and scope not in owners]


class ApiKey(models.Model):
    """A bearer key of one publisher: `crnt_<prefix>_<secret>`.

    The secret has 256 random bits, so its plain SHA-256 is stored (ASVS 6.5.2); it is shown once. What a `limited`
    key reaches is written where that is, and without that it reaches nothing.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="api_keys")
    created_by = models.ForeignKey("accounts.User", models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=8, unique=True)
    secret_sha256 = models.BinaryField(max_length=32)
    scopes = models.JSONField(default=list)
    limited = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} (crnt_{self.prefix}_…)"

    @property
    def uid(self) -> str:
        return encode("key", self.public_id)
