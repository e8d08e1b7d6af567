"""An archived issue tells the same numbers as before, and no more than the numbers."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from newsletters.models import Delivery, Issue, Newsletter
from tests.api.fixtures import Api, ask, code_of
from tests.delivery import ended
from tests.delivery.ended import DAYS, OUTCOMES, make_ended, rows_of

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.fixture
def issue(newsletter: Newsletter, settings: Settings) -> Issue:
    settings.DELIVERY_RETENTION_DAYS = DAYS
    return make_ended(newsletter)


@pytest.fixture(params=["removed", "about to be removed"])
def archive(request: pytest.FixtureRequest) -> Any:
    """Archive an issue wholly, or up to where its worker was killed before the first batch."""
    begun = request.param != "removed"

    def act(issue: Issue) -> None:
        ended.archive(issue, seconds=0 if begun else 20)
        assert rows_of(issue) == (len(OUTCOMES) if begun else 0)

    return act


def test_progress_is_the_same_before_and_after(api: Api, issue: Issue, archive: Any) -> None:
    path = f"/issues/{issue.uid}/progress"
    before = ask(api.get(path))
    assert (before["sent"], before["uncertain"], before["archived_at"]) == (3, 2, None)
    archive(issue)
    after = ask(api.get(path))
    assert after["archived_at"] is not None
    assert after | {"archived_at": None} == before


def test_the_issue_says_since_when_it_is_archived(api: Api, issue: Issue, archive: Any) -> None:
    path = f"/issues/{issue.uid}"
    assert ask(api.get(path))["archived_at"] is None
    archive(issue)
    shown = ask(api.get(path))
    listed = ask(api.get(f"/newsletters/{shown['newsletter_id']}/issues"))["items"]
    assert listed[0]["archived_at"] == shown["archived_at"] == ask(api.get(f"{path}/progress"))["archived_at"]
    assert (shown["state"], shown["audience"]) == ("sent", len(OUTCOMES))


def test_its_deliveries_are_gone_at_once(api: Api, issue: Issue, newsletter: Newsletter, archive: Any) -> None:
    other = make_ended(newsletter, days=1)
    row = Delivery.objects.filter(issue=issue).earliest("pk")
    path = f"/issues/{issue.uid}/deliveries"
    assert len(api.items(path)) == len(OUTCOMES)
    archive(issue)
    assert ask(api.get(path)) == {"items": [], "next": None}
    assert ask(api.get(f"{path}?state=sent&address=reader-1@example.org"))["items"] == []
    assert code_of(api.get(f"/deliveries/{row.uid}")) == (404, "not_found")
    assert len(api.items(f"/issues/{other.uid}/deliveries")) == len(OUTCOMES)
