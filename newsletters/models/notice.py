from __future__ import annotations

from django.db import models

from core.models import MailState as NoticeState
from core.models import QueuedMail

__all__ = ["Notice", "NoticeKind", "NoticeState"]


class NoticeKind(models.TextChoices):
    """Which transactional mail: asks a reader to confirm, asks an address to be a sender, or a proof."""

    CONFIRMATION = "confirmation"
    SENDER_VERIFICATION = "sender_verification"
    PROOF = "proof"


class Notice(QueuedMail):
    """One transactional mail of a newsletter.

    Exactly one of `subscription`, `sender` and `issue` says what it is about.
    """

    uid_prefix = "ntc"
    kind = models.CharField(max_length=20, choices=NoticeKind)
    subscription = models.ForeignKey(
        "newsletters.Subscription", models.CASCADE, null=True, blank=True, related_name="notices"
    )
    sender = models.ForeignKey(
        "newsletters.SenderIdentity", models.CASCADE, null=True, blank=True, related_name="notices"
    )
    issue = models.ForeignKey("newsletters.Issue", models.CASCADE, null=True, blank=True, related_name="proofs")

    class Meta(QueuedMail.Meta):
        constraints = [
            *QueuedMail.Meta.constraints,
            models.CheckConstraint(
                condition=models.Q(kind=NoticeKind.CONFIRMATION, subscription__isnull=False)
                | models.Q(kind=NoticeKind.SENDER_VERIFICATION, sender__isnull=False)
                | models.Q(kind=NoticeKind.PROOF, issue__isnull=False),
                name="notice_is_about_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} notice: {self.state}"
