from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class Subscriber(models.Model):
    """One address of one publisher. The address never changes: another address is another subscriber.

    `address` is canonical (ASCII, domain lower-cased and IDNA-encoded); `address_key` is its identity,
    wholly lower-cased; `address_digest` is the HMAC under which suppressions know it.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="subscribers")
    address = models.CharField(max_length=254)
    address_key = models.CharField(max_length=254)
    address_digest = models.BinaryField(max_length=32)
    name = models.CharField(max_length=100, blank=True)
    attributes = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["publisher", "address_key"], name="subscriber_address_once"),
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def uid(self) -> str:
        return encode("sbr", self.public_id)
