from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class SenderIdentity(models.Model):
    """A From address of one publisher.

    It may send once `verified_at` is set (somebody opened the link mailed to it) or while its domain
    is one of the operator's VERIFIED_SENDER_DOMAINS. `max_rate` (mails a second) and `max_connections`
    limit all worker processes together; null means no limit.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="sender_identities")
    address = models.CharField(max_length=254)
    verified_at = models.DateTimeField(null=True, blank=True)
    max_rate = models.FloatField(null=True, blank=True)
    max_connections = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "sender identities"
        constraints = [
            models.UniqueConstraint(fields=["publisher", "address"], name="sender_address_once"),
            models.CheckConstraint(
                # NaN and infinity are floats too; one mail an hour is the slowest that means anything.
                condition=models.Q(max_rate__isnull=True) | models.Q(max_rate__gte=1 / 3600, max_rate__lte=100_000),
                name="sender_rate_sensible",
            ),
            models.CheckConstraint(
                condition=models.Q(max_connections__isnull=True) | models.Q(max_connections__gte=1),
                name="sender_connections_positive",
            ),
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def uid(self) -> str:
        return encode("snd", self.public_id)

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


class SenderPace(models.Model):
    """How far the permits of a sender with a `max_rate` have been given out.

    `next_at` is the generic cell rate algorithm's theoretical arrival time (ITU-T I.371): the moment at
    which the next mail not yet permitted may begin, on the database's clock.
    """

    sender = models.OneToOneField("newsletters.SenderIdentity", models.CASCADE, primary_key=True, related_name="pace")
    next_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"pace of sender {self.sender_id}"
