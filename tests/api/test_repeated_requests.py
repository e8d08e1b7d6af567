"""Every POST with an `Idempotency-Key`: repeated, changed, by others, in parallel."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db.models.functions import Now

from config.api import ROUTERS
from core.idempotency import KEPT_FOR
from core.models import IdempotencyRecord
from newsletters.api.router import Router
from newsletters.models import Delivery, DeliveryState, Import, Issue, IssueState, Newsletter, Subscription
from tests import cast
from tests.api import documented
from tests.api.fixtures import Api, ask, code_of, issue_in, row_counts

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
POSTS = {
    operation["operationId"]: operation
    for methods in documented.DOCUMENT["paths"].values()
    for method, operation in methods.items()
    if method == "post"
}
REPLAYED = "Idempotency-Replayed"
CSV = b"email\nada@example.org\n"


@dataclass(frozen=True)
class Cast:
    """What the requests are about; the issue is in the state that the request needs."""

    newsletter: Newsletter
    issue: Issue
    reader: Subscription
    held: Delivery


@dataclass(frozen=True)
class Post:
    """A POST that succeeds, and what it needs."""

    path: str
    body: Any = None
    other: Any = None
    state: IssueState = IssueState.DRAFT


NEWSLETTER = {
    "name": "The Daily",
    "slug": "daily",
    "from_address": "daily@gazette.example",
    "postal_address": "1 Printing House Square, London",
}
SENDING, PAUSED, SCHEDULED = IssueState.SENDING, IssueState.PAUSED, IssueState.SCHEDULED
REQUESTS = {
    "create_newsletter": Post("/newsletters", NEWSLETTER, NEWSLETTER | {"slug": "other"}),
    "request_sender_verification": Post("/senders/{sender}/verification"),
    "create_subscription": Post(
        "/newsletters/{newsletter}/subscriptions", {"address": cast.BORIS}, {"address": cast.CHLOE}
    ),
    "create_subscriptions": Post(
        "/newsletters/{newsletter}/subscriptions/batch",
        {"readers": [{"address": cast.BORIS}, {"address": "no"}]},
        {"readers": [{"address": cast.CHLOE}]},
    ),
    "unsubscribe": Post("/subscriptions/{reader}/unsubscribe"),
    "create_import": Post("/newsletters/{newsletter}/imports?consent_source=form", CSV, CSV + b"boris@example.org\n"),
    "create_issue": Post("/newsletters/{newsletter}/issues", {"subject": "One"}, {"subject": "Two"}),
    "send_proof": Post("/issues/{issue}/proof", {"addresses": [cast.EDITOR]}, {"addresses": [cast.ADA]}),
    "send_issue": Post("/issues/{issue}/send"),
    "schedule_issue": Post(
        "/issues/{issue}/schedule", {"send_at": "2020-01-01T08:00"}, {"send_at": "2021-01-01T08:00"}
    ),
    "unschedule_issue": Post("/issues/{issue}/unschedule", state=SCHEDULED),
    "pause_issue": Post("/issues/{issue}/pause", state=SENDING),
    "resume_issue": Post("/issues/{issue}/resume", state=PAUSED),
    "cancel_issue": Post("/issues/{issue}/cancel", state=SENDING),
    "resend_delivery": Post("/deliveries/{held}/resend", state=SENDING),
    "accept_delivery": Post("/deliveries/{held}/accept", state=SENDING),
    "drop_delivery": Post("/deliveries/{held}/drop", state=SENDING),
    "resend_held": Post("/issues/{issue}/held/resend", state=SENDING),
    "accept_held": Post("/issues/{issue}/held/accept", state=SENDING),
    "drop_held": Post("/issues/{issue}/held/drop", state=SENDING),
    "create_destination": Post(
        "/destinations", {"domain": "a.example", "max_concurrency": 2}, {"domain": "b.example", "max_concurrency": 2}
    ),
}


@pytest.fixture
def make_cast(api: Api) -> Callable[[Post], Cast]:
    def make(post: Post) -> Cast:
        newsletter = cast.make_newsletter(api.publisher)
        reader, issue = cast.make_reader(newsletter), issue_in(newsletter, post.state)
        held = Delivery.objects.create(issue=issue, subscription=reader, state=DeliveryState.HELD)
        return Cast(newsletter, issue, reader, held)

    return make


def request(api: Api, post: Post, who: Cast, body: Any, **headers: str) -> Any:
    sender = who.newsletter.sender.uid
    path = post.path.format(
        newsletter=who.newsletter.uid, issue=who.issue.uid, reader=who.reader.uid, held=who.held.uid, sender=sender
    )
    raw = body if isinstance(body, bytes) else None
    media_type = "text/csv" if raw is not None else "application/json"
    return api.send("POST", path, None if raw else body, raw=raw, content_type=media_type, **headers)


def test_no_post_is_missing_here() -> None:
    assert POSTS.keys() == REQUESTS.keys()
    # Ninja's own would forget the key and the ETags.
    assert {type(router) for router in ROUTERS} == {Router}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_repeated_post_gets_the_first_answer_and_changes_nothing(
    name: str, api: Api, make_cast: Callable[[Post], Cast]
) -> None:
    post = REQUESTS[name]
    who = make_cast(post)
    first = request(api, post, who, post.body, Idempotency_Key="k1")
    assert first.status_code < 300, first.content
    assert REPLAYED not in first
    after, states = row_counts(), list(Issue.objects.values_list("state", "updated_at"))
    again = request(api, post, who, post.body, Idempotency_Key="k1")
    assert (again.status_code, again.content, again[REPLAYED]) == (first.status_code, first.content, "true")
    assert (again.get("Location"), again["Content-Type"]) == (first.get("Location"), first["Content-Type"])
    assert str(first.status_code) in POSTS[name]["responses"]
    assert (row_counts(), list(Issue.objects.values_list("state", "updated_at"))) == (after, states)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_key_used_for_another_request_is_422_and_changes_nothing(
    name: str, api: Api, make_cast: Callable[[Post], Cast]
) -> None:
    post = REQUESTS[name]
    who = make_cast(post)
    assert request(api, post, who, post.body, Idempotency_Key="k1").status_code < 300
    after = row_counts()
    body = {"a": 1} if post.other is None else post.other
    assert code_of(request(api, post, who, body, Idempotency_Key="k1")) == (422, "idempotency_key_reused")
    other = Post("/newsletters/{newsletter}/issues", {"subject": "Elsewhere"})
    assert code_of(request(api, other, who, other.body, Idempotency_Key="k1")) == (422, "idempotency_key_reused")
    assert row_counts() == after


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("key", ["", "x" * 256, "a\x01b", "clé"])
def test_a_key_that_no_header_should_carry_is_400(
    name: str, key: str, api: Api, make_cast: Callable[[Post], Cast]
) -> None:
    post = REQUESTS[name]
    who = make_cast(post)
    before = row_counts()
    answer = request(api, post, who, post.body, Idempotency_Key=key)
    assert code_of(answer) == (400, "invalid_idempotency_key")
    assert row_counts() == before


@pytest.mark.parametrize("name", REQUESTS)
def test_the_document_names_the_key_and_says_where_it_is_required(
    name: str, api: Api, make_cast: Callable[[Post], Cast]
) -> None:
    [header] = [one for one in POSTS[name]["parameters"] if one["name"] == "Idempotency-Key"]
    assert {"400", "422"} <= POSTS[name]["responses"].keys()
    answer = request(api, REQUESTS[name], make_cast(REQUESTS[name]), REQUESTS[name].body)
    missing = answer.status_code == 400 and code_of(answer) == (400, "idempotency_key_required")
    assert missing == header["required"]


def test_without_a_key_a_post_is_made_as_often_as_it_is_sent(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    assert {api.post(path, {"subject": "One"}).status_code for _ in range(2)} == {201}
    assert (Issue.objects.count(), IdempotencyRecord.objects.count()) == (2, 0)


def test_other_keys_and_other_publishers_may_use_the_same_value(
    api: Api, newsletter: Newsletter, make_api: Callable[..., Api]
) -> None:
    stranger = make_api()
    colleague = make_api(api.publisher)
    body = NEWSLETTER | {"from_address": "news@gazette.example"}
    made = {ask(caller.post("/newsletters", body, Idempotency_Key="k"), 201)["id"] for caller in (api, stranger)}
    assert len(made) == 2
    assert code_of(colleague.post("/newsletters", body, Idempotency_Key="k")) == (409, "newsletter_slug_taken")


def test_a_failure_is_not_kept_so_that_a_retry_may_succeed(api: Api, newsletter: Newsletter) -> None:
    issue = issue_in(newsletter, IssueState.DRAFT)
    path = f"/issues/{issue.uid}/pause"
    assert code_of(api.post(path, Idempotency_Key="k")) == (409, "issue_not_pausable")
    assert not IdempotencyRecord.objects.exists()
    Issue.objects.update(state=IssueState.SENDING, started_at=Now(), resumed_at=Now())
    assert ask(api.post(path, Idempotency_Key="k"))["state"] == "paused"


def test_a_repetition_is_answered_after_the_thing_itself_is_gone(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    made = ask(api.post(path, {"subject": "One"}, Idempotency_Key="k"), 201)
    ask(api.delete(f"/issues/{made['id']}"), 204)
    again = api.post(path, {"subject": "One"}, Idempotency_Key="k")
    assert (again.status_code, json.loads(again.content)) == (201, made)
    assert not Issue.objects.exists()


def test_after_48_hours_a_key_is_free_again(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    first = ask(api.post(path, {"subject": "One"}, Idempotency_Key="k"), 201)
    IdempotencyRecord.objects.update(created_at=Now() - KEPT_FOR * 1.01)
    second = ask(api.post(path, {"subject": "Two"}, Idempotency_Key="k"), 201)
    assert first["id"] != second["id"]


def test_the_query_of_an_import_belongs_to_the_request(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/imports?consent_source="

    def upload(source: str) -> Any:
        return api.send("POST", path + source, raw=CSV, content_type="text/csv", Idempotency_Key="k")

    assert upload("form").status_code == 202
    assert code_of(upload("fair")) == (422, "idempotency_key_reused")
    assert Import.objects.count() == 1


def test_a_revoked_key_gets_no_stored_answer(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    ask(api.post(path, {"subject": "One"}, Idempotency_Key="k"), 201)
    api.publisher.api_keys.update(revoked_at=Now())
    assert code_of(api.post(path, {"subject": "One"}, Idempotency_Key="k")) == (401, "not_authenticated")
