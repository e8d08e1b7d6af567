"""A frozen process must not hold row locks for ever, nor a vanished server a thread."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection

pytestmark = pytest.mark.django_db


def test_a_session_that_sleeps_in_a_transaction_is_ended_by_the_server() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)


def test_a_server_that_vanished_is_noticed() -> None:
    options = settings.DATABASES["default"]["OPTIONS"]
    assert options["connect_timeout"] == 10
    assert options["tcp_user_timeout"] == 60_000
