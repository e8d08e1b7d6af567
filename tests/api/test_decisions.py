"""What needs a person, through the API: found in lists, decided one by one or all at once."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry
from newsletters.models import Delivery, Issue, Newsletter
from tests import cast
from tests.api.fixtures import Api, ask, code_of
from tests.delivery.acts import send, states

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def post(api: Api, path: str, key: str | None = None) -> Any:
    return api.send("POST", path, Idempotency_Key=key or str(uuid.uuid4()))


@pytest.fixture
def issue(newsletter: Newsletter) -> Issue:
    """An issue with a held row that is uncertain, a held one that is not, one uncertain and one that is neither."""
    cast.make_readers(newsletter, 4)
    issue = send(newsletter)
    first, second, third, _ = Delivery.objects.filter(issue=issue).order_by("pk").values_list("pk", flat=True)
    Delivery.objects.filter(pk__in=[first, second]).update(state="held", reason="uncertain", kills=2)
    Delivery.objects.filter(pk__in=[first, third]).update(uncertain=True, uncertain_outcomes=2)
    return issue


def uid(issue: Issue, place: int) -> str:
    return list(Delivery.objects.filter(issue=issue).order_by("pk"))[place].uid


def test_lists_show_what_needs_a_person(api: Api, issue: Issue) -> None:
    def ids(path: str) -> list[str]:
        return [row["id"] for row in api.items(path)]

    all_four = [uid(issue, place) for place in range(4)]
    own = f"/issues/{issue.uid}/deliveries"
    assert ids(f"{own}?uncertain=true&limit=1") == [all_four[0], all_four[2]]
    assert ids(f"{own}?uncertain=false") == [all_four[1], all_four[3]]
    assert ids("/deliveries?state=held&limit=1") == [all_four[1], all_four[0]]
    assert ids("/deliveries?uncertain=true") == [all_four[2], all_four[0]]
    assert ids("/deliveries?state=held&uncertain=true") == [all_four[0]]
    assert code_of(api.get("/deliveries")) == (422, "filter_required")
    assert api.get("/deliveries?state=queued").status_code == 422


def test_a_delivery_shows_its_message_id_and_what_it_has_been_through(api: Api, issue: Issue) -> None:
    row = ask(api.get(f"/deliveries/{uid(issue, 0)}"))
    assert (row["uncertain"], row["uncertain_outcomes"], row["kills"]) == (True, 2, 2)
    assert row["message_id"].startswith("<")
    assert row["message_id"].endswith("@gazette.example>")


@pytest.mark.parametrize("which", ["of all issues", "of one issue"])
def test_a_page_of_deliveries_does_not_read_an_issues_text_for_each(api: Api, issue: Issue, which: str) -> None:
    path = "/deliveries?state=held" if which == "of all issues" else f"/issues/{issue.uid}/deliveries"
    with CaptureQueriesContext(connection) as queries:
        assert len(ask(api.get(path))["items"]) > 1
    of_rows = [query["sql"] for query in queries if 'FROM "newsletters_delivery"' in query["sql"]]
    assert of_rows
    assert not any('"body"' in statement for statement in of_rows)
    assert sum('"body"' in query["sql"] for query in queries) <= 1


@pytest.mark.parametrize(
    ("action", "state", "reason"),
    [("resend", "queued", "resent"), ("accept", "sent", "accepted"), ("drop", "cancelled", "dropped")],
)
def test_a_held_delivery_is_decided_once(api: Api, issue: Issue, action: str, state: str, reason: str) -> None:
    path = f"/deliveries/{uid(issue, 0)}/{action}"
    key = str(uuid.uuid4())
    decided = ask(post(api, path, key))
    assert (decided["state"], decided["reason"]) == (state, reason)
    assert ask(post(api, path, key)) == decided
    assert ask(post(api, path)) == decided
    assert code_of(api.post(path))[0] == 400
    Delivery.objects.filter(issue=issue, state="queued").update(state="bounced")
    assert code_of(post(api, f"/deliveries/{uid(issue, 3)}/{action}")) == (409, "delivery_not_held")
    entry = AuditEntry.objects.get()
    assert (entry.actor_kind, entry.action, entry.object_id) == ("api_key", f"delivery.{reason}", decided["id"])
    assert entry.actor.startswith("key_")
    assert entry.ip_address == "127.0.0.1"


@pytest.mark.parametrize(("action", "state"), [("resend", "queued"), ("accept", "sent"), ("drop", "cancelled")])
def test_all_held_deliveries_are_decided_at_once(api: Api, issue: Issue, action: str, state: str) -> None:
    before = states(issue)
    path = f"/issues/{issue.uid}/held/{action}"
    assert ask(post(api, path)) == {"decided": 2}
    assert ask(post(api, path)) == {"decided": 0}
    assert states(issue)[state] == before.get(state, 0) + 2
    assert AuditEntry.objects.get().detail == {"deliveries": 2}


def test_what_is_held_of_a_cancelled_issue_is_not_sent_again(api: Api, issue: Issue) -> None:
    ask(api.post(f"/issues/{issue.uid}/cancel"))
    assert code_of(post(api, f"/deliveries/{uid(issue, 0)}/resend")) == (409, "issue_not_resendable")
    assert code_of(post(api, f"/issues/{issue.uid}/held/resend")) == (409, "issue_not_resendable")
    assert ask(post(api, f"/deliveries/{uid(issue, 0)}/drop"))["state"] == "cancelled"
