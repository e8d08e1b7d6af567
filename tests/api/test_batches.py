"""Many readers in one request."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from newsletters.models import ConsentEvent, Newsletter, Notice, Subscriber, Subscription, SubscriptionState
from tests import cast
from tests.api.fixtures import Api, ask, code_of, pointers_of, row_counts

pytestmark = pytest.mark.django_db


def path(newsletter: Newsletter) -> str:
    return f"/newsletters/{newsletter.uid}/subscriptions/batch"


def test_each_row_is_answered_in_its_place(api: Api, newsletter: Newsletter) -> None:
    there = cast.make_reader(newsletter, address=cast.BORIS)
    gone = cast.make_reader(newsletter, address=cast.CHLOE, state=SubscriptionState.UNSUBSCRIBED)
    readers = [
        {"address": cast.ADA, "name": "Ada", "attributes": {"city": "Porto"}},
        {"address": cast.BORIS},
        {"address": "no address"},
        {"address": cast.CHLOE},
        {"address": cast.ADA.upper()},
        {"address": cast.DMITRI, "attributes": {"Bad Name": 1}},
    ]
    shown = ask(api.post(path(newsletter), {"readers": readers, "consent_source": "form"}))
    assert (shown["created"], shown["existing"], shown["refused"]) == (1, 2, 3)
    rows = shown["rows"]
    assert [row["index"] for row in rows] == list(range(6))
    assert [(row["status"], row["code"], row["state"]) for row in rows] == [
        ("created", None, "active"),
        ("existing", None, "active"),
        ("refused", "invalid_address", None),
        ("refused", "reader_unsubscribed", None),
        ("existing", None, "active"),
        ("refused", "invalid_attribute_name", None),
    ]
    made = Subscription.objects.get(subscriber__address=cast.ADA)
    assert [row["subscription_id"] for row in rows] == [made.uid, there.uid, None, None, made.uid, None]
    assert all((row["detail"] is None) == (row["code"] is None) for row in rows)
    assert made.subscriber.attributes == {"city": "Porto"}
    assert Subscription.objects.get(pk=gone.pk).state == SubscriptionState.UNSUBSCRIBED


def test_without_a_source_of_consent_each_is_asked_to_confirm(api: Api, newsletter: Newsletter) -> None:
    readers = [{"address": f"reader-{number}@example.org"} for number in range(1_000)]
    shown = ask(api.post(path(newsletter), {"readers": readers}))
    assert (shown["created"], {row["state"] for row in shown["rows"]}) == (1_000, {"pending"})
    assert (Notice.objects.count(), ConsentEvent.objects.count()) == (1_000, 1_000)
    again = ask(api.post(path(newsletter), {"readers": readers}))
    assert (again["created"], again["existing"]) == (0, 1_000)
    assert [row["subscription_id"] for row in again["rows"]] == [row["subscription_id"] for row in shown["rows"]]
    assert (Notice.objects.count(), ConsentEvent.objects.count()) == (1_000, 1_000)


def test_vouching_for_readers_needs_its_scope(make_api: Callable[..., Api], newsletter: Newsletter, api: Api) -> None:
    plain = make_api(api.publisher, scopes=("subscribers:write",))
    body = {"readers": [{"address": cast.ADA}], "consent_source": "form"}
    assert code_of(plain.post(path(newsletter), body)) == (403, "scope_missing")
    assert not Subscriber.objects.exists()
    assert ask(plain.post(path(newsletter), {"readers": body["readers"]}))["rows"][0]["state"] == "pending"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/readers"),
        ({"readers": []}, "/readers"),
        ({"readers": [{"address": f"r{n}@example.org"} for n in range(1_001)]}, "/readers"),
        ({"readers": [{"address": cast.ADA}, {"address": 5}]}, "/readers/1/address"),
        ({"readers": [{"address": cast.ADA, "status": "active"}]}, "/readers/0/status"),
        ({"readers": [{"name": "Ada"}]}, "/readers/0/address"),
        ({"readers": [{"address": cast.ADA, "name": None}]}, "/readers/0/name"),
        ({"readers": [{"address": cast.ADA, "attributes": []}]}, "/readers/0/attributes"),
        ({"readers": [{"address": cast.ADA}], "consent_source": ""}, "/consent_source"),
        ({"readers": [{"address": cast.ADA}], "consent_source": "x" * 201}, "/consent_source"),
        ({"readers": [cast.ADA]}, "/readers/0"),
    ],
)
def test_a_request_of_the_wrong_form_adds_nobody(
    api: Api, newsletter: Newsletter, body: dict[str, Any], pointer: str
) -> None:
    before = row_counts()
    answer = api.post(path(newsletter), body)
    assert answer.status_code == 422
    assert pointers_of(answer) == {pointer}
    assert row_counts() == before


def test_of_many_wrong_readers_the_first_is_told_of(api: Api, newsletter: Newsletter) -> None:
    answer = api.post(path(newsletter), {"readers": [{"address": cast.ADA}, {"name": 1, "a": 1}, {"b": 1}]})
    assert code_of(answer) == (422, "invalid_values")
    assert pointers_of(answer) == {"/readers/1/address", "/readers/1/name", "/readers/1/a"}


def test_a_repetition_with_its_key_gets_the_same_rows(api: Api, newsletter: Newsletter) -> None:
    body = {"readers": [{"address": cast.ADA}, {"address": "no"}]}
    first = api.post(path(newsletter), body, Idempotency_Key="k")
    again = api.post(path(newsletter), body, Idempotency_Key="k")
    assert first.content == again.content
    assert json.loads(again.content)["created"] == 1
    assert again["Idempotency-Replayed"] == "true"
