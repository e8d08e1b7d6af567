from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class ActorKind(models.TextChoices):
    """Who acted: a person, a program with an API key, a command on the server, or Courant itself."""

    USER = "user"
    API_KEY = "api_key", "API key"
    COMMAND = "command"
    SYSTEM = "system"


class AuditEntry(models.Model):
    """One decision and who made it; append-only, which the database itself enforces (migration 0002).

    `actor` is text, so that it says who acted after the user or key is gone. `publisher` is null for what concerns
    the installation; the entries of a publisher go when it is deleted, and not before. `object_id` is a public id.
    """

    id = models.BigAutoField(primary_key=True)
    # The database itself removes the entries of a publisher that goes, and refuses every other removal.
    publisher = models.ForeignKey(
        "accounts.Publisher", models.DO_NOTHING, null=True, related_name="+", db_constraint=False
    )
    at = models.DateTimeField(db_default=Now())
    actor_kind = models.CharField(max_length=10, choices=ActorKind)
    actor = models.CharField(max_length=254)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40)
    object_id = models.CharField("object ID", max_length=64)
    detail = models.JSONField(default=dict)
    ip_address = models.GenericIPAddressField("IP address", null=True)

    class Meta:
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log entries"
        # For GET /audit-entries, the newest first.
        indexes = [models.Index(fields=["publisher", "id"], name="audit_entry_of_publisher")]
        constraints = [
            models.CheckConstraint(condition=models.Q(actor_kind__in=ActorKind.values), name="audit_actor_kind_known"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_id}"
