"""Fifty requests at the same moment on PostgreSQL: one wins, the others are told, and none is a 5xx."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from typing import Any

import pytest

from accounts.keys import revoke
from accounts.models import AuditEntry
from core.tokens import make_token
from newsletters.models import (
    ConsentEvent,
    Delivery,
    Edition,
    Issue,
    IssueState,
    Newsletter,
    Notice,
    Subscriber,
    Subscription,
    SubscriptionState,
)
from newsletters.publishing import fan_out
from tests import cast
from tests.api.fixtures import Api, ask, at_once, code_of, send_issue

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 50


def outcomes(answers: list[Any]) -> Counter[Any]:
    return Counter(one.status_code if one.status_code < 400 else code_of(one) for one in answers)


def test_of_equal_creates_with_one_key_one_is_made_and_all_get_its_answer(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    answers = at_once(api, COUNT, lambda caller, _: caller.post(path, {"subject": "One"}, Idempotency_Key="k"))
    assert outcomes(answers) == {201: COUNT}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.get("Idempotency-Replayed") for answer in answers].count(None) == 1
    assert Issue.objects.count() == 1


def test_of_different_creates_with_one_key_one_is_made_and_the_others_are_told(
    api: Api, newsletter: Newsletter
) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    answers = at_once(
        api, COUNT, lambda caller, number: caller.post(path, {"subject": f"{number}"}, Idempotency_Key="k")
    )
    assert outcomes(answers) == {201: 1, (422, "idempotency_key_reused"): COUNT - 1}
    assert Issue.objects.count() == 1


def test_of_newsletters_with_one_slug_one_is_made(api: Api) -> None:
    body = {
        "name": "The Daily",
        "slug": "daily",
        "from_address": "daily@gazette.example",
        "postal_address": "1 Printing House Square, London",
    }
    answers = at_once(api, COUNT, lambda caller, _: caller.post("/newsletters", body))
    assert outcomes(answers) == {201: 1, (409, "newsletter_slug_taken"): COUNT - 1}
    assert Newsletter.objects.count() == 1


def test_of_limits_for_one_domain_one_is_made(api: Api) -> None:
    body = {"domain": "example.org", "max_concurrency": 2}
    answers = at_once(api, COUNT, lambda caller, _: caller.post("/destinations", body))
    assert outcomes(answers) == {201: 1, (409, "destination_exists"): COUNT - 1}


def test_of_equal_sign_ups_one_is_new_and_one_mail_is_queued(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/subscriptions"

    def sign_up(caller: Api, number: int) -> Any:
        one = {"address": cast.ADA.upper() if number % 2 else cast.ADA}
        return caller.post(f"{path}/batch", {"readers": [one]}) if number % 5 == 0 else caller.post(path, one)

    answers = at_once(api, COUNT, sign_up)
    assert outcomes(answers).keys() <= {200, 201}
    new = [one for one in answers if one.status_code == 201 or b'"created":1' in one.content]
    assert len(new) == 1
    assert (Subscriber.objects.count(), ConsentEvent.objects.count(), Notice.objects.count()) == (1, 1, 1)


def test_a_subscription_that_is_confirmed_many_times_is_confirmed_once(api: Api, newsletter: Newsletter) -> None:
    place = cast.make_reader(newsletter, state=SubscriptionState.PENDING)
    link = f"/c/{make_token('confirm', place.pk, issued=int(time.time()))}"
    answers = at_once(api, COUNT, lambda caller, _: caller.client.post(link))
    assert {answer.status_code for answer in answers} == {200}
    assert Subscription.objects.get().state == SubscriptionState.ACTIVE
    assert list(ConsentEvent.objects.order_by("pk").values_list("source", flat=True)) == ["cast", "confirmation"]


@pytest.mark.parametrize("state", [IssueState.DRAFT, IssueState.SCHEDULED])
def test_an_issue_that_is_sent_and_cancelled_at_once_ends_in_one_of_both_with_every_reader_accounted_for(
    api: Api, newsletter: Newsletter, state: IssueState
) -> None:
    cast.make_readers(newsletter, 20)
    issue = cast.make_issue(newsletter)
    if state == IssueState.SCHEDULED:
        ask(api.post(f"/issues/{issue.uid}/schedule", {"send_at": "2020-01-01T08:00"}))

    def act(caller: Api, number: int) -> Any:
        if number % 2:
            return caller.post(f"/issues/{issue.uid}/cancel", Idempotency_Key=str(uuid.uuid4()))
        return send_issue(caller, issue)

    answers = at_once(api, COUNT, act)
    sent = outcomes(answers[::2])
    cancelled = outcomes(answers[1::2])
    assert sent.keys() <= {202, (409, "issue_not_sendable")}
    assert cancelled.keys() <= {200, (409, "issue_not_cancellable")}
    assert sent[202] <= 1
    found = Issue.objects.get()
    assert (found.state == IssueState.CANCELLED) == (cancelled[200] > 0)
    assert Edition.objects.count() == sent[202]
    actions = Counter(AuditEntry.objects.values_list("action", flat=True))
    assert (actions["issue.started"], actions["issue.cancelled"]) == (sent[202], min(cancelled[200], 1))
    if sent[202]:
        fan_out.fan_out(issue.pk)
        progress = ask(api.get(f"/issues/{issue.uid}/progress"))
        assert (progress["accounted"], progress["audience"]) == (True, 20)
        assert Delivery.objects.count() == 20


def test_a_key_that_is_revoked_while_it_is_used_ends_at_once(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/issues"
    key = api.publisher.api_keys.get()

    def act(caller: Api, number: int) -> Any:
        if number == COUNT // 2:
            revoke(key)
            # From here on nobody gets in.
            return caller.post(path, {"subject": "After"})
        return [caller.post(path, {"subject": f"{number} {turn}"}) for turn in range(3)]

    answers = at_once(api, COUNT, act)
    after = answers.pop(COUNT // 2)
    assert code_of(after) == (401, "not_authenticated")
    for mine in answers:
        statuses = [one.status_code for one in mine]
        # Never in again after the first refusal.
        assert statuses == sorted(statuses)
    flat = outcomes([one for mine in answers for one in mine])
    assert flat.keys() <= {201, (401, "not_authenticated")}
    assert Issue.objects.count() == flat[201]
