from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models.functions import Now

from newsletters.models import Issue, IssueState, Newsletter, Notice, NoticeKind, SenderIdentity
from tests import cast
from tests.api.fixtures import Api, ask, code_of, pointers_of, row_counts

pytestmark = pytest.mark.django_db
NEW = {"name": "The Weekly", "slug": "weekly", "from_address": "News@Gazette.example", "postal_address": "1 Square"}


def test_a_newsletter_is_made_and_its_new_sender_asked_to_verify(api: Api) -> None:
    made = ask(api.post("/newsletters", NEW), 201)
    assert made["sender"]["address"] == "news@gazette.example"
    assert made["sender"]["verified"] is False
    assert (made["opt_in"], made["on_uncertain"]) == ("double", "resend")
    assert ask(api.get(f"/newsletters/{made['id']}")) == made
    notice = Notice.objects.get()
    assert (notice.kind, notice.to_address) == (NoticeKind.SENDER_VERIFICATION, "news@gazette.example")


def test_an_answer_shows_these_fields_and_no_others(api: Api) -> None:
    made = ask(api.post("/newsletters", NEW), 201)
    assert set(made) == {
        "id",
        "name",
        "slug",
        "sender",
        "from_name",
        "reply_to",
        "description",
        "postal_address",
        "opt_in",
        "on_uncertain",
        "created_at",
        "updated_at",
    }
    assert set(made["sender"]) == {
        "id",
        "address",
        "verified",
        "verified_at",
        "max_rate",
        "max_connections",
        "created_at",
    }


def test_a_known_address_is_the_same_sender(api: Api) -> None:
    sender = cast.make_sender(api.publisher)
    made = ask(api.post("/newsletters", NEW | {"from_address": sender.address.upper()}), 201)
    assert (made["sender"]["id"], made["sender"]["verified"]) == (sender.uid, True)
    assert not Notice.objects.exists()


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"from_address": "news@localhost"}, "invalid_address", "/from_address"),
        ({"reply_to": "a@b.co, c@d.co"}, "invalid_address", "/reply_to"),
        ({"from_name": "=?utf-8?q?Hi=0ABcc:_x@example.org?="}, "encoded_word", "/from_name"),
        ({"name": "=?utf-8?q?Hi?="}, "encoded_word", "/name"),
        ({"from_name": "a\r\nBcc: x@y.co"}, "control_character", "/from_name"),
        ({"name": "  "}, "blank", "/name"),
        ({"name": "\u200b\u2060"}, "blank", "/name"),
        ({"slug": "Weekly"}, "wrong_form", "/slug"),
        ({"slug": "-weekly"}, "wrong_form", "/slug"),
        ({"slug": "weekly\n"}, "wrong_form", "/slug"),
        ({"slug": "w" * 65}, "too_long", "/slug"),
        ({"opt_in": "none"}, "not_one_of", "/opt_in"),
        ({"postal_address": "x" * 301}, "too_long", "/postal_address"),
    ],
)
def test_a_newsletter_with_a_wrong_value_is_not_made(
    api: Api, changes: dict[str, Any], code: str, pointer: str
) -> None:
    before = row_counts()
    answer = api.post("/newsletters", NEW | changes)
    assert code_of(answer) == (422, code)
    assert pointers_of(answer) == {pointer}
    assert row_counts() == before


def test_a_slug_is_used_once_by_a_publisher_and_free_again_after_deletion(
    api: Api, make_api: Callable[..., Api]
) -> None:
    made = ask(api.post("/newsletters", NEW), 201)
    before = row_counts()
    assert code_of(api.post("/newsletters", NEW | {"from_address": "b@gazette.example"})) == (
        409,
        "newsletter_slug_taken",
    )
    assert row_counts() == before
    ask(make_api().post("/newsletters", NEW), 201)
    ask(api.delete(f"/newsletters/{made['id']}"), 204)
    ask(api.post("/newsletters", NEW), 201)


def test_a_change_touches_only_what_it_names(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}"
    before = ask(api.get(path))
    after = ask(api.patch(path, {"from_name": "New", "reply_to": "Desk@Gazette.example"}))
    expected = {"from_name": "New", "reply_to": "Desk@gazette.example", "updated_at": after["updated_at"]}
    assert after == before | expected
    assert after["updated_at"] > before["updated_at"]
    assert ask(api.patch(path, {"reply_to": ""}))["reply_to"] == ""


def test_a_change_to_a_slug_in_use_changes_nothing(api: Api, newsletter: Newsletter) -> None:
    other = cast.make_newsletter(api.publisher)
    answer = api.patch(f"/newsletters/{newsletter.uid}", {"name": "New", "slug": other.slug})
    assert code_of(answer) == (409, "newsletter_slug_taken")
    assert Newsletter.objects.get(pk=newsletter.pk).name == newsletter.name


def test_a_change_that_names_nothing_is_refused(api: Api, newsletter: Newsletter) -> None:
    assert code_of(api.patch(f"/newsletters/{newsletter.uid}", {})) == (422, "nothing_to_change")


@pytest.mark.parametrize("state", [IssueState.SENDING, IssueState.PAUSED, IssueState.BLOCKED])
def test_a_newsletter_with_an_issue_under_way_is_not_deleted(
    api: Api, newsletter: Newsletter, state: IssueState
) -> None:
    cast.make_issue(newsletter, state=state, started_at=Now())
    assert code_of(api.delete(f"/newsletters/{newsletter.uid}")) == (409, "newsletter_is_sending")
    ask(api.get(f"/newsletters/{newsletter.uid}"))


def test_a_deleted_newsletter_takes_everything_with_it_and_sends_nothing_any_more(
    api: Api, newsletter: Newsletter
) -> None:
    reader = cast.make_reader(newsletter)
    issue = cast.make_issue(newsletter, state=IssueState.SCHEDULED, scheduled_at=Now())
    ask(api.delete(f"/newsletters/{newsletter.uid}"), 204)
    for path in (f"/newsletters/{newsletter.uid}", f"/issues/{issue.uid}", f"/subscriptions/{reader.uid}"):
        assert code_of(api.get(path)) == (404, "not_found")
    assert ask(api.get("/newsletters"))["items"] == []
    assert Issue.objects.get().state == IssueState.CANCELLED
    ask(api.get(f"/subscribers/{reader.subscriber.uid}"))


def test_newsletters_are_listed_the_newest_first(api: Api) -> None:
    made = [cast.make_newsletter(api.publisher).uid for _ in range(5)]
    assert [row["id"] for row in api.items("/newsletters?limit=2")] == made[::-1]


def test_a_verification_mail_is_queued_again_on_request(api: Api) -> None:
    sender = cast.make_sender(api.publisher, verified=False)
    shown = ask(api.post(f"/senders/{sender.uid}/verification"), 202)
    assert (shown["id"], shown["verified"]) == (sender.uid, False)
    assert Notice.objects.get().sender == sender
    ask(api.post(f"/senders/{sender.uid}/verification"), 202)
    assert Notice.objects.count() == 1


def test_a_sender_in_a_domain_of_the_operator_is_verified(api: Api, settings: Any) -> None:
    settings.VERIFIED_SENDER_DOMAINS = ("gazette.example",)
    ask(api.post("/newsletters", NEW), 201)
    assert [(one["verified"], one["verified_at"]) for one in api.items("/senders")] == [(True, None)]
    assert SenderIdentity.objects.get().verified_at is None
