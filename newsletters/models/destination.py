from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class Destination(models.Model):
    """A domain to which one publisher's readers belong, once it needs care: closed, or limited by a person.

    `max_concurrency` is how many mails may be under way to it at once (null: the default of 20). After
    refusals that mean "slow down" it is closed until `closed_until`; `closed_seconds` is the length of
    the latest closure, doubled by the next and 0 once a mail has been accepted. `window` is the
    concurrency that was last in use, `last_reply` what the relay said when it was last closed.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="destinations", db_index=False)
    # ASCII in lower case: A-labels (RFC 5890).
    domain = models.CharField(max_length=253)
    max_concurrency = models.PositiveSmallIntegerField(null=True, blank=True)
    window = models.PositiveSmallIntegerField(null=True, editable=False)
    closed_until = models.DateTimeField(null=True, blank=True, editable=False)
    closed_seconds = models.PositiveSmallIntegerField(default=0, editable=False)
    last_reply = models.CharField(max_length=500, blank=True, editable=False)
    last_closed_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "domain"], name="destination_once"),
            models.CheckConstraint(
                condition=models.Q(max_concurrency__isnull=True) | models.Q(max_concurrency__gte=1),
                name="destination_concurrency_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.domain

    @property
    def uid(self) -> str:
        return encode("dst", self.public_id)
