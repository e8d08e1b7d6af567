"""Rows of the service itself: the clock's lease, rate limits, the answers kept for repeated requests.

And what every queue of mails has in common.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class ClockLease(models.Model):
    """The one row whose holder is the clock, and what the clock reports about the broker.

    Taken and renewed by a guarded UPDATE on the database's time, so it works on SQLite and behind
    PgBouncer, and a stopped process loses it after 15 s.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    holder = models.UUIDField(null=True)
    until = models.DateTimeField(db_default=Now())
    broker_ok_at = models.DateTimeField(null=True)
    broker_error = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="clock_lease_is_one_row")]

    def __str__(self) -> str:
        return f"clock held by {self.holder}"


class RestoreGuard(models.Model):
    """The one row by which the service recognises its database, and whether sending is blocked.

    `counter` only grows; it is remembered outside the database (`core.restore_store`), so a database that
    went back in time shows a smaller one. `acceptance` is new in each new database and after each
    `accept-restore`; `superseded` lists those before it, by which the memory of another machine recognises
    what a person has accepted. `remembered` and `found` are what did not match when sending was blocked.
    `store_failed_at` is when a worker last could not use its store; each says so once a second.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    counter = models.PositiveBigIntegerField(default=0)
    acceptance = models.UUIDField(default=uuid.uuid4)
    superseded = models.JSONField(default=list, blank=True)
    blocked_at = models.DateTimeField(null=True)
    blocked_why = models.CharField(max_length=300, default="", blank=True)
    remembered = models.JSONField(null=True)
    found = models.JSONField(null=True)
    store_failed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="restore_guard_is_one_row")]

    def __str__(self) -> str:
        return f"restore guard at {self.counter}"


class RateLimit(models.Model):
    """How far a caller has used up what it may ask; written by `core.rate_limit` only.

    On PostgreSQL the table is unlogged: no request waits for a disk, and a crash forgets the counts of a second.
    """

    bucket = models.CharField(max_length=80, primary_key=True)
    # Seconds since 1970 by the database's clock.
    paid_until = models.FloatField()

    def __str__(self) -> str:
        return self.bucket


class IdempotencyRecord(models.Model):
    """The answer already given to a request with an `Idempotency-Key`.

    Stored in the transaction of the effect itself, so a crash between commit and answer replays.
    `owner` names the caller (an API key's id); `fingerprint` is the SHA-256 of operation and body.
    """

    owner = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField()
    body = models.BinaryField()
    headers = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="idempotency_owner_key")]

    def __str__(self) -> str:
        return f"answer {self.status} of {self.created_at}"


class MailState(models.TextChoices):
    """`queued` until due, `sending` under a lease, then `sent`, or `failed` after a final refusal."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class QueuedMail(models.Model):
    """One mail of a queue: the intent, committed with what caused it and sent by a worker (`core.outbox`).

    It is written when it is sent, so no secret link lies in the database. A concrete model adds `kind`, what the
    mail is about, and what its public ids begin with.
    """

    uid_prefix: ClassVar[str]
    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    kind: models.Field[str, str]
    to_address = models.CharField(max_length=254)
    state = models.CharField(max_length=10, choices=MailState, default=MailState.QUEUED)
    next_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    # How many workers died with it in their hands.
    kills = models.PositiveSmallIntegerField(default=0, db_default=0)
    last_reply = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=MailState.values), name="%(class)s_state_known"),
        ]
        indexes = [
            # Read by the clock.
            models.Index(
                fields=["next_at"],
                condition=models.Q(state__in=[MailState.QUEUED, MailState.SENDING]),
                name="%(class)s_open",
            ),
        ]

    @property
    def uid(self) -> str:
        return encode(self.uid_prefix, self.public_id)
