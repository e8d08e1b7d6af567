"""Requests that meet in the middle: one wins, the others are told, and none of them fails."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError

from newsletters.models import ConsentEvent, Newsletter, Subscriber
from tests import cast
from tests.api.fixtures import Api, at_once, code_of

pytestmark = pytest.mark.django_db(transaction=True)
ADA = {"address": cast.ADA, "consent_source": "form"}


def test_of_many_equal_sign_ups_one_is_new(api: Api, newsletter: Newsletter) -> None:
    path = f"/newsletters/{newsletter.uid}/subscriptions"
    answers = at_once(api, 12, lambda caller, _number: caller.post(path, ADA))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 11}
    assert (Subscriber.objects.count(), ConsentEvent.objects.count()) == (1, 1)


def test_who_changes_a_reader_while_it_is_erased_gets_200_or_404(api: Api, newsletter: Newsletter) -> None:
    for _ in range(3):
        place = cast.make_reader(newsletter)
        reader, subscription = f"/subscribers/{place.subscriber.uid}", f"/subscriptions/{place.uid}"

        def ask(caller: Api, number: int, reader: str = reader, subscription: str = subscription) -> Any:
            if number == 0:
                return caller.delete(reader)
            return caller.patch(reader, {"name": "A"}) if number % 2 else caller.post(f"{subscription}/unsubscribe")

        assert {answer.status_code for answer in at_once(api, 9, ask)} <= {200, 204, 404}
        assert not Subscriber.objects.exists()


@pytest.mark.parametrize("row", ["newsletter", "issue", "reader"])
def test_a_row_that_goes_between_finding_and_showing_it_is_404(
    api: Api, newsletter: Newsletter, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, issue = cast.make_reader(newsletter), cast.make_issue(newsletter)

    def gone(*_arguments: Any, **_named: Any) -> None:
        raise ObjectDoesNotExist(row)

    where, step, path, body = {
        "newsletter": ("newsletters", "update_newsletter", f"/newsletters/{newsletter.uid}", {"name": "B"}),
        "issue": ("issues", "update_issue", f"/issues/{issue.uid}", {"subject": "B"}),
        "reader": ("subscribers", "update_subscriber", f"/subscribers/{place.subscriber.uid}", {"name": "B"}),
    }[row]
    monkeypatch.setattr(f"newsletters.api.{where}.{step}", gone)
    assert code_of(api.patch(path, body)) == (404, "not_found")


def test_what_a_constraint_refuses_is_409(api: Api, newsletter: Newsletter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: Any) -> None:
        raise IntegrityError("violates foreign key constraint")

    monkeypatch.setattr("newsletters.api.issues.delete_issue", refused)
    assert code_of(api.delete(f"/issues/{cast.make_issue(newsletter).uid}")) == (409, "changed_meanwhile")
