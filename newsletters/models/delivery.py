from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.tokens import seal_id


class DeliveryState(models.TextChoices):
    """The states of a ledger row; only `newsletters.delivery` writes them.

    `queued` waits until `next_at`; a lane's claim makes it `sending` under a lease; settling or the
    rescue makes it any other. `sent` to `cancelled` are final; `held` waits for a human.
    """

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    BOUNCED = "bounced"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    HELD = "held"


OPEN_STATES = (DeliveryState.QUEUED, DeliveryState.SENDING)


class Delivery(models.Model):
    """One issue to one subscription: the ledger row.

    `lease_token` names the claim that holds the row, `intent_id` the last permitted SMTP attempt, and
    `gated` says that the present holder was permitted one. `attempts` counts attempts that the schedule
    counts; `kills` counts workers that died with this row's mail in flight; `uncertain_outcomes` counts
    links cut after the final dot; `uncertain` stays set once a copy may have been sent twice.
    The last reply is `reply_phase`, `reply_code`, `reply_status` (enhanced status code, RFC 3463) and
    `reply_text`. `merge` holds the reader's values, frozen with the audience; null when none are used.
    """

    id = models.BigAutoField(primary_key=True)
    # On PostgreSQL triggers guard both keys, which check all rows of a statement at once (migration 0004).
    issue = models.ForeignKey("newsletters.Issue", models.CASCADE, related_name="deliveries", db_index=False)
    # The database itself sets this null, and forgets the reader's values, when the subscription goes.
    subscription = models.ForeignKey(
        "newsletters.Subscription",
        models.DO_NOTHING,
        null=True,
        related_name="deliveries",
        db_index=False,
        db_constraint=False,
    )
    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.QUEUED)
    next_at = models.DateTimeField(db_default=Now())
    lease_token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    intent_id = models.UUIDField(null=True)
    intent_at = models.DateTimeField(null=True)
    gated = models.BooleanField(db_default=False)
    attempts = models.PositiveSmallIntegerField(db_default=0)
    kills = models.PositiveSmallIntegerField(db_default=0)
    uncertain_outcomes = models.PositiveSmallIntegerField(db_default=0)
    uncertain = models.BooleanField(db_default=False)
    reason = models.CharField(max_length=40, null=True)  # noqa: DJ001  # null keeps a million rows small
    reply_phase = models.CharField(max_length=10, null=True)  # noqa: DJ001  # the same
    reply_code = models.PositiveSmallIntegerField(null=True)
    reply_status = models.CharField(max_length=11, null=True)  # noqa: DJ001  # the same
    reply_text = models.CharField(max_length=500, null=True)  # noqa: DJ001  # the same
    merge = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            # Also the index by which a subscriber's rows are found, through the issues of the newsletter: fan-out
            # adds at its end, where (subscription, issue) would touch a page of its own for every row.
            models.UniqueConstraint(fields=["issue", "subscription"], name="delivery_once"),
            models.CheckConstraint(condition=models.Q(state__in=DeliveryState.values), name="delivery_state_known"),
            models.CheckConstraint(
                condition=models.Q(state=DeliveryState.SENDING, lease_token__isnull=False, lease_until__isnull=False)
                | (~models.Q(state=DeliveryState.SENDING) & models.Q(lease_token__isnull=True)),
                name="delivery_lease_iff_sending",
            ),
        ]
        indexes = [
            # Read by lists and by the accounting; none on `state`, which changes twice for each mail.
            models.Index(fields=["issue", "id"], name="delivery_by_issue"),
            # Read by the claim.
            models.Index(
                fields=["issue", "next_at", "id"],
                condition=models.Q(state=DeliveryState.QUEUED),
                name="delivery_queued",
            ),
            # Read by the claim of suspects; nearly always empty.
            models.Index(
                fields=["issue", "next_at", "id"],
                condition=models.Q(state=DeliveryState.QUEUED, kills__gt=0),
                name="delivery_suspect",
            ),
            # Read by the rescue and by finishing; the gate writes none of its columns.
            models.Index(
                fields=["issue", "lease_until"],
                condition=models.Q(state=DeliveryState.SENDING),
                name="delivery_leased",
            ),
            # Read by the lists of what needs a person; an ordinary row is in neither, so no gate or settle writes them.
            models.Index(fields=["issue", "id"], condition=models.Q(state=DeliveryState.HELD), name="delivery_held"),
            models.Index(fields=["issue", "id"], condition=models.Q(uncertain=True), name="delivery_uncertain"),
            # Read by the same lists of all issues, the newest first: by the primary key, PostgreSQL may walk the whole
            # ledger to find a few old rows.
            models.Index(fields=["id"], condition=models.Q(state=DeliveryState.HELD), name="delivery_held_newest"),
            models.Index(fields=["id"], condition=models.Q(uncertain=True), name="delivery_uncertain_newest"),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}: {self.state}"

    @property
    def uid(self) -> str:
        return f"dlv_{seal_id('delivery', self.pk)}"
