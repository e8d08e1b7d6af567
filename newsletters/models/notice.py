from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class NoticeKind(models.TextChoices):
    """Which transactional mail: asks a reader to confirm, asks an address to be a sender, or a proof."""

    CONFIRMATION = "confirmation"
    SENDER_VERIFICATION = "sender_verification"
    PROOF = "proof"


class NoticeState(models.TextChoices):
    """`queued` until due, `sending` under a lease, then `sent`, or `failed` after a final refusal."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class Notice(models.Model):
    """One transactional mail: the intent, committed with what caused it and sent by a worker.

    Exactly one of `subscription`, `sender` and `issue` says what it is about. A notice is written
    when it is sent, so no secret link lies in the database.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    kind = models.CharField(max_length=20, choices=NoticeKind)
    to_address = models.CharField(max_length=254)
    subscription = models.ForeignKey(
        "newsletters.Subscription", models.CASCADE, null=True, blank=True, related_name="notices"
    )
    sender = models.ForeignKey(
        "newsletters.SenderIdentity", models.CASCADE, null=True, blank=True, related_name="notices"
    )
    issue = models.ForeignKey("newsletters.Issue", models.CASCADE, null=True, blank=True, related_name="proofs")
    state = models.CharField(max_length=10, choices=NoticeState, default=NoticeState.QUEUED)
    next_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    # How many workers died with it in their hands.
    kills = models.PositiveSmallIntegerField(default=0, db_default=0)
    last_reply = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=NoticeState.values), name="notice_state_known"),
            models.CheckConstraint(
                condition=models.Q(kind=NoticeKind.CONFIRMATION, subscription__isnull=False)
                | models.Q(kind=NoticeKind.SENDER_VERIFICATION, sender__isnull=False)
                | models.Q(kind=NoticeKind.PROOF, issue__isnull=False),
                name="notice_is_about_something",
            ),
        ]
        indexes = [
            # Read by the clock.
            models.Index(
                fields=["next_at"],
                condition=models.Q(state__in=[NoticeState.QUEUED, NoticeState.SENDING]),
                name="notice_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} notice: {self.state}"

    @property
    def uid(self) -> str:
        return encode("ntc", self.public_id)
