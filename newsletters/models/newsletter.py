from __future__ import annotations

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z"


class OptIn(models.TextChoices):
    """Whether a reader must confirm by mail before the subscription is active."""

    DOUBLE = "double"
    SINGLE = "single"


class OnUncertain(models.TextChoices):
    """What happens to a mail whose fate after the final dot is unknown (RFC 1047)."""

    RESEND = "resend"
    HOLD = "hold"


class NewsletterQuerySet(models.QuerySet["Newsletter"]):
    def alive(self) -> NewsletterQuerySet:
        return self.filter(deleted_at__isnull=True)


class Newsletter(models.Model):
    """A publication: its slug, who sends it, and how readers join."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    publisher = models.ForeignKey("accounts.Publisher", models.CASCADE, related_name="newsletters")
    sender = models.ForeignKey("newsletters.SenderIdentity", models.PROTECT, related_name="newsletters")
    slug = models.CharField(max_length=64, validators=[RegexValidator(SLUG_PATTERN)])
    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    from_name = models.CharField(max_length=100, blank=True)
    reply_to = models.CharField(max_length=254, blank=True)
    postal_address = models.CharField(max_length=300)
    opt_in = models.CharField(max_length=10, choices=OptIn, default=OptIn.DOUBLE)
    on_uncertain = models.CharField(max_length=10, choices=OnUncertain, default=OnUncertain.RESEND)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    # A deleted newsletter is hidden at once; an actor removes its rows in batches.
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = NewsletterQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["publisher", "slug"],
                condition=models.Q(deleted_at__isnull=True),
                name="newsletter_slug_once",
            ),
            models.CheckConstraint(condition=models.Q(opt_in__in=OptIn.values), name="newsletter_opt_in_known"),
            models.CheckConstraint(
                condition=models.Q(on_uncertain__in=OnUncertain.values), name="newsletter_on_uncertain_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def uid(self) -> str:
        return encode("nl", self.public_id)
