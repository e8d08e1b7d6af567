"""Removing what has ended by itself: sessions, and counts of the limits at the doors."""

from __future__ import annotations

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

AT_ONCE = 5_000
# Sessions last 14 days from log-in on; whatever was not seen for longer has none any more.
UNSEEN = timedelta(days=15)


def forget_ended() -> int:
    """Remove up to 5,000 sessions that have expired, their lines in people's lists, and old counts; return how many."""
    expired = Session.objects.filter(expire_date__lt=Now()).values("pk")[:AT_ONCE]
    gone = Session.objects.filter(pk__in=list(expired.values_list("pk", flat=True))).delete()[0]
    unseen = UserSession.objects.filter(last_seen_at__lt=Now() - UNSEEN).values_list("pk", flat=True)[:AT_ONCE]
    gone += UserSession.objects.filter(pk__in=list(unseen)).delete()[0]
    return int(gone) + _forget_counts()


def _forget_counts() -> int:
    # Django's cache in the database does so only when it is full, and counts all rows at each write.
    with connection.cursor() as cursor:
        # The cache rounds to whole seconds, and writes by the clock of the process.
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        cursor.execute("DELETE FROM core_cache WHERE expires < %s", [now])
        return int(cursor.rowcount)
