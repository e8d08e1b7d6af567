from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.db.models.functions import Now
from django.test import Client

from accounts.forgetting import forget_ended
from tests import cast
from tests.accounts.doors import forget_limits, log_in

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def counts() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM core_cache")
        return int(cursor.fetchone()[0])


def test_sessions_that_expired_go_and_others_stay() -> None:
    user = cast.make_user()
    for _ in range(2):
        log_in(Client(), user.email)
    first = Session.objects.earliest("expire_date")
    Session.objects.filter(pk=first.pk).update(expire_date=Now() - timedelta(seconds=1))
    UserSession.objects.filter(session_key=first.pk).update(last_seen_at=Now() - timedelta(days=16))
    forget_ended()
    assert Session.objects.exclude(pk=first.pk).count() == Session.objects.count() == 1
    assert UserSession.objects.get().session_key == Session.objects.get().pk


def test_counts_that_are_over_go_and_others_stay() -> None:
    forget_limits()
    cache.set("over", 1, timeout=600)
    cache.set("going-on", 1, timeout=600)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_cache SET expires = '2020-01-01 00:00:00' WHERE cache_key LIKE '%over'")
    forget_ended()
    assert counts() == 1
    assert cache.get("going-on") == 1
    forget_limits()
