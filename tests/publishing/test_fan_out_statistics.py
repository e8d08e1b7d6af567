"""What the planner is told when a ledger fills."""

from __future__ import annotations

import pytest
from django.db import connection

from newsletters.publishing.fan_out import fan_out
from tests.cast import make_issue, make_newsletter, make_readers
from tests.delivery.acts import begin


@pytest.mark.django_db(transaction=True)
def test_the_planner_learns_of_the_first_rows_of_a_new_ledger() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3_000)
    issue = make_issue(newsletter)
    begin(issue)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE newsletters_delivery")
        fan_out(issue.pk)
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'newsletters_delivery'::regclass")
        assert cursor.fetchone()[0] >= 2_000
