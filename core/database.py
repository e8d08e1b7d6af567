"""The database's clock, the only one that decides anything."""

from __future__ import annotations

import datetime

from django.db import models
from django.db.models.functions import Now

from core.models import ClockLease


def database_now() -> datetime.datetime:
    """Return the database's current time, aware, in UTC."""
    row = ClockLease.objects.annotate(now=models.ExpressionWrapper(Now(), output_field=models.DateTimeField()))
    now: datetime.datetime = row.values_list("now", flat=True).get(pk=1)
    return now
