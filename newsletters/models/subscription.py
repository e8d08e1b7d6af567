from __future__ import annotations

from typing import Any, Never

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class SubscriptionState(models.TextChoices):
    """`pending` becomes `active` by confirming; `active` and `pending` become `unsubscribed` by leaving.

    `unsubscribed` becomes `pending` or `active` again only by the reader's own new request.
    """

    PENDING = "pending"
    ACTIVE = "active"
    UNSUBSCRIBED = "unsubscribed"


class Subscription(models.Model):
    """A subscriber's place in a newsletter. Every change of state also writes a ConsentEvent."""

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    subscriber = models.ForeignKey("newsletters.Subscriber", models.CASCADE, related_name="subscriptions")
    newsletter = models.ForeignKey(
        "newsletters.Newsletter", models.CASCADE, related_name="subscriptions", db_index=False
    )
    state = models.CharField(max_length=12, choices=SubscriptionState)
    changed_at = models.DateTimeField(db_default=Now(), editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subscriber", "newsletter"], name="subscription_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=SubscriptionState.values), name="subscription_state_known"
            ),
        ]
        indexes = [
            # Read by fan-out (id-ordered chunks of one newsletter) and by every list.
            models.Index(fields=["newsletter", "id"], name="subscription_by_newsletter"),
        ]

    def __str__(self) -> str:
        return f"{self.subscriber_id} in {self.newsletter_id}: {self.state}"

    @property
    def uid(self) -> str:
        return encode("sub", self.public_id)


class ConsentEvent(models.Model):
    """One line of the consent log: what a subscription became, when, by whose word. Append-only.

    A trigger in the database refuses updates; rows go only with the subscriber's erasure. Fan-out
    reads the log to freeze an audience at the start of an issue.
    """

    subscription = models.ForeignKey("newsletters.Subscription", models.CASCADE, related_name="consent_events")
    state = models.CharField(max_length=12, choices=SubscriptionState)
    source = models.CharField(max_length=40)
    detail = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=SubscriptionState.values), name="consent_state_known")
        ]

    def __str__(self) -> str:
        return f"{self.subscription_id} became {self.state} by {self.source}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk is not None:
            self._refuse()
        super().save(*args, **kwargs)

    def _refuse(self) -> Never:
        raise TypeError("The consent log is append-only.")
