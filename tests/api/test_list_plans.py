"""With 300,000 ledger rows, lists of what needs a person read nothing else; PostgreSQL's plans are the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from newsletters.models import Issue, IssueState, Newsletter
from tests.api.fixtures import Api, ask, issue_in

pytestmark = pytest.mark.django_db
ROWS = 300_000
PAGE = 50
# A page asks for one row more, by which it knows that there is another page.
ONE_MORE = 1
DOUBTS = {"delivery_held", "delivery_held_newest", "delivery_uncertain", "delivery_uncertain_newest"}
FILL = """
INSERT INTO newsletters_delivery (issue_id, state, uncertain, settled_at)
SELECT %s, %s, %s, now() FROM generate_series(1, %s)
"""


def fill(issue: Issue, count: int, *, doubtful: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, [issue.pk, "held" if doubtful else "sent", doubtful, count])


def explain(statement: str) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
        found: dict[str, Any] = cursor.fetchone()[0][0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


@pytest.fixture(params=["stale", "fresh"])
def statistics(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[0, 40, ROWS // 10], ids=["none", "few", "a tenth"])
def ledger(request: pytest.FixtureRequest, newsletter: Newsletter, statistics: str) -> int:
    """So many rows of the oldest issue need a person, and none of those that came later; returns how many."""
    oldest, *later = [issue_in(newsletter, IssueState.SENT) for _ in range(6)]
    with connection.cursor() as cursor:
        # The rows satisfy what triggers and foreign keys check.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for moment, fills in (
            ("stale", [(issue, 1_000, False) for issue in later]),
            ("fresh", [(oldest, request.param, True)] + [(issue, ROWS // 5, False) for issue in later]),
        ):
            for issue, count, doubtful in fills:
                fill(issue, count, doubtful=doubtful)
            if moment in ("stale", statistics):
                cursor.execute("ANALYZE newsletters_delivery, newsletters_issue, newsletters_newsletter")
        cursor.execute("SET LOCAL session_replication_role = origin")
    return int(request.param)


def test_a_list_of_what_needs_a_person_reads_what_it_shows(api: Api, ledger: int, statistics: str) -> None:
    for filters in ("state=held", "uncertain=true", "state=held&uncertain=true"):
        with CaptureQueriesContext(connection) as queries:
            shown = ask(api.get(f"/deliveries?{filters}&limit={PAGE}"))["items"]
        assert len(shown) == min(ledger, PAGE)
        (statement,) = [query["sql"] for query in queries if "newsletters_delivery" in query["sql"]]
        plan = explain(statement)
        used = {node["Index Name"] for node in nodes(plan) if node.get("Index Name", "").startswith("delivery_")}
        on_ledger = [node for node in nodes(plan) if node.get("Relation Name") == "newsletters_delivery"]
        assert used, statement
        assert used <= DOUBTS
        assert {node.get("Index Name") for node in on_ledger} <= DOUBTS | {None}
        assert "Seq Scan" not in {node["Node Type"] for node in on_ledger}
        rows = sum(node["Actual Rows"] * node["Actual Loops"] for node in on_ledger)
        # A planner that knows of no such row may sort them all instead of walking them in order.
        assert rows <= (ledger if statistics == "stale" else len(shown) + ONE_MORE), plan
        assert sum(node.get("Rows Removed by Filter", 0) for node in on_ledger) == 0, plan
