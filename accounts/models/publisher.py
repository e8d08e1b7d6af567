from __future__ import annotations

import zoneinfo

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7
from core.tokens import seal_id


def validate_time_zone(value: str) -> None:
    """Refuse a name that is not in the IANA time zone database."""
    if value not in zoneinfo.available_timezones():
        raise ValidationError(f"{value!r} is not a time zone such as Europe/Berlin.", code="unknown_time_zone")


class Role(models.TextChoices):
    """What a member may do: owners everything, editors write and send, viewers read."""

    OWNER = "owner"
    EDITOR = "editor"
    VIEWER = "viewer"


class Publisher(models.Model):
    """The tenant: owns newsletters, subscribers, sender identities and keys."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    name = models.CharField(max_length=100)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    members = models.ManyToManyField("accounts.User", through="accounts.Membership", related_name="publishers")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return self.name

    @property
    def uid(self) -> str:
        return encode("pub", self.public_id)


class Membership(models.Model):
    """A person's role in a publisher.

    What a `limited` member reaches is written where that is, and without that they reach nothing.
    """

    publisher = models.ForeignKey(Publisher, models.CASCADE, related_name="memberships")
    user = models.ForeignKey("accounts.User", models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    limited = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "user"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_role_known"),
            models.CheckConstraint(
                condition=models.Q(limited=False) | ~models.Q(role=Role.OWNER), name="membership_owner_unlimited"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.publisher}"

    @property
    def uid(self) -> str:
        return f"mem_{seal_id('member', self.pk)}"
