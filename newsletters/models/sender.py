from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class SenderIdentity(models.Model):
    """A From address of one publisher.

    It may send once `verified_at` is set (somebody opened the link mailed to it) or while its domain
    is one of the operator's VERIFIED_SENDER_DOMAINS.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="sender_identities")
    address = models.CharField(max_length=254)
    verified_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "sender identities"
        constraints = [models.UniqueConstraint(fields=["publisher", "address"], name="sender_address_once")]

    def __str__(self) -> str:
        return self.address

    @property
    def uid(self) -> str:
        return encode("snd", self.public_id)

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]
