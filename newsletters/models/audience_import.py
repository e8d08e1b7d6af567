from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from core.public_ids import encode, uuid7


class ImportState(models.TextChoices):
    """`queued` until a worker starts it, `running`, then `done`; `failed` when it cannot go on."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Import(models.Model):
    """A CSV file of readers for one newsletter, read by an actor part by part.

    Counts and `cursor` (rows already handled) change in the transaction of the part itself, so a
    killed worker neither loses nor repeats a row. `total` counts data rows, `added` new
    subscriptions, `already_present` readers who were there, `duplicates` repeated addresses within
    the file, `refused` readers who left or are suppressed, `invalid` rows with an error.
    """

    public_id = models.UUIDField(default=uuid7, unique=True, editable=False)
    newsletter = models.ForeignKey("newsletters.Newsletter", models.CASCADE, related_name="imports")
    created_by = models.ForeignKey("accounts.User", models.SET_NULL, null=True, blank=True, related_name="+")
    state = models.CharField(max_length=10, choices=ImportState, default=ImportState.QUEUED)
    consent_source = models.CharField(max_length=200)
    total = models.PositiveIntegerField(default=0)
    cursor = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    already_present = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    invalid = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    failure = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(state__in=ImportState.values), name="import_state_known")
        ]
        indexes = [
            models.Index(
                fields=["id"],
                condition=models.Q(state__in=[ImportState.QUEUED, ImportState.RUNNING]),
                name="import_under_way",
            ),
            models.Index(fields=["newsletter", "id"], name="import_by_newsletter"),
        ]

    def __str__(self) -> str:
        return self.uid

    @property
    def uid(self) -> str:
        return encode("imp", self.public_id)


class ImportPart(models.Model):
    """A piece of the uploaded file, cut between two rows; web and worker share no disk, so the database carries it.

    `position` is the number of rows before it: the part to read next is the one at the import's cursor.
    `data` is a CSV file by itself, with the header; `line` is the line of the upload at which its rows
    begin. Once its rows are handled, `data` is empty and `marks` tells which addresses they had
    (import_marks.py), since a later part may repeat them.
    """

    audience_import = models.ForeignKey("newsletters.Import", models.CASCADE, related_name="parts", db_index=False)
    position = models.PositiveIntegerField()
    line = models.PositiveIntegerField(default=2)
    data = models.BinaryField()
    marks = models.BinaryField(default=b"")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["audience_import", "position"], name="import_part_once")]

    def __str__(self) -> str:
        return f"part {self.position} of import {self.audience_import_id}"


class ImportRowError(models.Model):
    """Why one row of the file added nobody. `line` counts from 1, the header being line 1."""

    audience_import = models.ForeignKey("newsletters.Import", models.CASCADE, related_name="row_errors", db_index=False)
    line = models.PositiveIntegerField()
    code = models.CharField(max_length=40)
    detail = models.CharField(max_length=300)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["audience_import", "line"], name="import_row_error_once")]

    def __str__(self) -> str:
        return f"line {self.line}: {self.code}"
