"""At scale, what retention asks reads an index and never the table; PostgreSQL's plans are the evidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from newsletters.delivery import retention
from newsletters.models import Issue
from tests.cast import make_issue, make_newsletter
from tests.delivery.ended import DAYS

pytestmark = pytest.mark.django_db
LEDGER = """
INSERT INTO newsletters_delivery (issue_id, state) SELECT i.id, 'sent' FROM newsletters_issue i, generate_series(1, %s)
"""
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def issues(settings: Settings) -> list[Issue]:
    """Twenty issues that are due, each with 1,000 rows."""
    settings.DELIVERY_RETENTION_DAYS = DAYS
    newsletter = make_newsletter()
    times = dict.fromkeys(("started_at", "resumed_at", "fan_out_done_at", "finished_at"), LONG_AGO)
    made = [make_issue(newsletter, state="sent", audience=1_000, **times) for _ in range(20)]
    with connection.cursor() as cursor:
        cursor.execute(LEDGER, [1_000])
        cursor.execute("ANALYZE newsletters_delivery, newsletters_issue")
    return made


def plans(act: Callable[[], object]) -> str:
    """Return the plans of the statements about the ledger that `act` carries out."""
    with CaptureQueriesContext(connection) as queries:
        act()
    found = []
    with connection.cursor() as cursor:
        for query in queries:
            if "newsletters_delivery" in query["sql"]:
                cursor.execute(f"EXPLAIN {query['sql']}")
                found += [line for (line,) in cursor.fetchall()]
    assert found
    return "\n".join(found)


def test_the_search_walks_from_issue_to_issue_by_the_index(issues: list[Issue]) -> None:
    for ask in (retention.oldest_issue, lambda: retention.due_ids(issues[0].pk)):
        plan = plans(ask)
        # Two indexes begin with the issue.
        assert "Index Only Scan using delivery_" in plan
        assert "Seq Scan on newsletters_delivery" not in plan
    assert len(retention.due_ids(issues[0].pk)) == 20


def test_a_batch_is_found_by_the_index_and_removed_by_the_key(
    issues: list[Issue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 50)
    retention._close_account(issues[3].pk)
    plan = plans(lambda: retention._remove_batch(issues[3].pk, after=0))
    assert "using delivery_by_issue on newsletters_delivery" in plan
    assert "newsletters_delivery_pkey" in plan
    assert "Seq Scan on newsletters_delivery" not in plan
