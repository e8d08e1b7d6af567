"""Issues as an API client writes, proves and reads them."""

from __future__ import annotations

from typing import Any

import pytest

from newsletters.models import (
    Delivery,
    DeliveryState,
    Issue,
    IssueState,
    Newsletter,
    Notice,
    NoticeKind,
)
from tests import cast
from tests.api.fixtures import Api, ask, code_of, issue_in, pointers_of, row_counts, send_issue

pytestmark = pytest.mark.django_db
STARTED = [IssueState.SENDING, IssueState.PAUSED, IssueState.SENT, IssueState.CANCELLED]


def test_an_issue_is_written_read_changed_and_deleted(api: Api, newsletter: Newsletter) -> None:
    listing = f"/newsletters/{newsletter.uid}/issues"
    made = ask(api.post(listing, {"subject": "Hello", "body": "# Hi\n"}), 201)
    assert (made["state"], made["body_format"], made["newsletter_id"]) == ("draft", "markdown", newsletter.uid)
    path = f"/issues/{made['id']}"
    changed = ask(api.patch(path, {"subject": "Goodbye", "preheader": "Soon"}))
    assert (changed["subject"], changed["preheader"], changed["body"]) == ("Goodbye", "Soon", "# Hi\n")
    assert ask(api.get(path)) == changed
    assert "body" not in api.items(listing)[0]
    ask(api.delete(path), 204)
    assert code_of(api.get(path)) == (404, "not_found")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"subject": "=?utf-8?q?Hi=0ABcc:_x@example.org?="}, "/subject"),
        ({"subject": "a\r\nBcc: x@y.co"}, "/subject"),
        ({"subject": "a\x0bb"}, "/subject"),
        ({"subject": ""}, "/subject"),
        ({"subject": "  "}, "/subject"),
        ({"subject": "x" * 256}, "/subject"),
        ({"preheader": "x" * 256}, "/preheader"),
        ({"body": "{{ settings.SECRET_KEY }}"}, "/body"),
        ({"body": "{{ name"}, "/body"),
        ({"body": "x" * (512 * 1024 + 1)}, "/body"),
        ({"body_format": "pdf"}, "/body_format"),
        ({"state": "sent"}, "/state"),
        ({"audience": 5}, "/audience"),
    ],
)
def test_an_issue_with_a_wrong_value_is_not_stored(
    api: Api, newsletter: Newsletter, changes: dict[str, Any], pointer: str
) -> None:
    before = row_counts()
    answer = api.post(f"/newsletters/{newsletter.uid}/issues", {"subject": "Hello", "body": "Hi"} | changes)
    assert answer.status_code == 422
    assert pointers_of(answer) == {pointer}
    assert row_counts() == before


def test_issues_are_listed_by_state(api: Api, newsletter: Newsletter) -> None:
    made = {state: issue_in(newsletter, state).uid for state in (*STARTED, IssueState.DRAFT, IssueState.SCHEDULED)}
    for state, uid in made.items():
        assert [row["id"] for row in api.items(f"/newsletters/{newsletter.uid}/issues?state={state}")] == [uid]


@pytest.mark.parametrize("state", STARTED)
def test_a_started_issue_is_neither_changed_nor_deleted_nor_sent_again(
    api: Api, newsletter: Newsletter, state: IssueState
) -> None:
    cast.make_reader(newsletter)
    issue = issue_in(newsletter, state)
    path = f"/issues/{issue.uid}"
    assert code_of(api.patch(path, {"subject": "New"})) == (409, "issue_not_editable")
    assert code_of(api.delete(path)) == (409, "issue_not_deletable")
    assert code_of(send_issue(api, issue)) == (409, "issue_not_sendable")
    later = {"send_at": "2026-12-24T08:00"}
    assert code_of(api.post(f"{path}/schedule", later)) == (409, "issue_not_schedulable")
    assert Issue.objects.get().subject == issue.subject


def test_a_proof_is_queued_for_each_address(api: Api, newsletter: Newsletter) -> None:
    issue = cast.make_issue(newsletter)
    answer = api.post(f"/issues/{issue.uid}/proof", {"addresses": ["a@gazette.example", "b@gazette.example"]})
    shown = ask(answer, 202)
    assert [proof["to_address"] for proof in shown["items"]] == ["a@gazette.example", "b@gazette.example"]
    assert Notice.objects.filter(kind=NoticeKind.PROOF, issue=issue).count() == 2


@pytest.mark.parametrize("addresses", [[], ["a@gazette.example"] * 11, ["a@b.co,c@d.co"], "a@gazette.example", [5]])
def test_a_proof_to_nobody_or_too_many_is_422(api: Api, newsletter: Newsletter, addresses: Any) -> None:
    issue = cast.make_issue(newsletter)
    answer = api.post(f"/issues/{issue.uid}/proof", {"addresses": addresses})
    assert answer.status_code == 422
    assert all(pointer.startswith("/addresses") for pointer in pointers_of(answer))
    assert not Notice.objects.exists()


def test_a_preview_shows_one_readers_values_or_the_defaults(api: Api, newsletter: Newsletter) -> None:
    reader = cast.make_reader(newsletter)
    elsewhere = cast.make_reader(cast.make_newsletter(api.publisher), address=cast.BORIS)
    path = f"/issues/{cast.make_issue(newsletter).uid}/preview"
    assert "Dear reader" in ask(api.get(path))["text"]
    shown = ask(api.get(f"{path}?subscription_id={reader.uid}"))
    assert "Dear Ada" in shown["text"]
    assert "Dear Ada" in shown["html"]
    assert code_of(api.get(f"{path}?subscription_id={elsewhere.uid}")) == (404, "not_found")


def test_deliveries_are_listed_by_state_and_address_with_the_last_reply(api: Api, newsletter: Newsletter) -> None:
    issue = issue_in(newsletter, IssueState.SENDING)
    ada, boris = (cast.make_reader(newsletter, address=address) for address in (cast.ADA, cast.BORIS))
    reply = {"reply_phase": "rcpt", "reply_code": 550, "reply_status": "5.1.1", "reply_text": "no such user"}
    gone = Delivery.objects.create(issue=issue, subscription=ada, state=DeliveryState.BOUNCED, attempts=1, **reply)
    open_row = Delivery.objects.create(issue=issue, subscription=boris)
    path = f"/issues/{issue.uid}/deliveries"
    assert [row["id"] for row in api.items(f"{path}?limit=1")] == [gone.uid, open_row.uid]
    bounced = api.items(f"{path}?state=bounced")
    assert [(row["address"], row["next_at"]) for row in bounced] == [(cast.ADA, None)]
    assert bounced[0]["last_reply"] == {"phase": "rcpt", "code": 550, "status": "5.1.1", "text": "no such user"}
    assert [row["id"] for row in api.items(f"{path}?address=BORIS%40example.org")] == [open_row.uid]
    wrong = api.get(f"{path}?address=boris")
    assert code_of(wrong) == (422, "invalid_address")
    assert pointers_of(wrong) == {"address"}
    assert ask(api.get(f"/deliveries/{gone.uid}")) == bounced[0]
    ada.subscriber.delete()
    erased = ask(api.get(f"/deliveries/{gone.uid}"))
    assert (erased["address"], erased["subscription_id"], erased["state"]) == (None, None, "bounced")
