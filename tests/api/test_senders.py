"""The limits of senders in the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from newsletters.delivery.rates import SenderLimits, limits
from newsletters.models import SenderIdentity
from tests import cast
from tests.api.fixtures import Api, ask, code_of, pointers_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def sender(api: Api) -> SenderIdentity:
    return cast.make_sender(api.publisher)


def test_a_senders_limits_are_set_shown_and_taken_away(api: Api, sender: SenderIdentity) -> None:
    path = f"/senders/{sender.uid}"
    before = ask(api.get(path))
    assert (before["max_rate"], before["max_connections"]) == (None, None)
    limited = {"max_rate": 14, "max_connections": 20}
    assert ask(api.patch(path, limited)) == before | limited
    assert api.items("/senders") == [before | limited]
    assert limits(sender.pk) == SenderLimits(14.0, 20)
    assert ask(api.patch(path, {"max_rate": None})) == before | limited | {"max_rate": None}
    assert limits(sender.pk) == SenderLimits(None, 20)


def test_the_same_change_twice_is_the_same(api: Api, sender: SenderIdentity) -> None:
    answers = [ask(api.patch(f"/senders/{sender.uid}", {"max_rate": 0.5})) for _ in range(2)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"max_rate": 0}, "out_of_range", "/max_rate"),
        ({"max_rate": -1}, "out_of_range", "/max_rate"),
        ({"max_rate": 0.0002}, "out_of_range", "/max_rate"),
        ({"max_rate": 100_001}, "out_of_range", "/max_rate"),
        ({"max_rate": "14"}, "wrong_type", "/max_rate"),
        ({"max_rate": True}, "wrong_type", "/max_rate"),
        ({"max_connections": 0}, "out_of_range", "/max_connections"),
        ({"max_connections": 1001}, "out_of_range", "/max_connections"),
        ({"max_connections": 2.5}, "wrong_type", "/max_connections"),
        ({"max_rate": 14, "address": "new@gazette.example"}, "unknown_field", "/address"),
    ],
)
def test_a_limit_that_means_nothing_is_refused(
    api: Api, sender: SenderIdentity, changes: dict[str, Any], code: str, pointer: str
) -> None:
    answer = api.patch(f"/senders/{sender.uid}", changes)
    assert code_of(answer) == (422, code)
    assert pointers_of(answer) == {pointer}
    assert limits(sender.pk) == SenderLimits(None, None)


@pytest.mark.parametrize("body", [b'{"max_rate": NaN}', b'{"max_rate": 1e999}', b'{"max_rate": 1, "max_rate": 2}'])
def test_what_is_not_strict_json_is_refused(api: Api, sender: SenderIdentity, body: bytes) -> None:
    assert api.send("PATCH", f"/senders/{sender.uid}", raw=body).status_code == 422
    assert limits(sender.pk) == SenderLimits(None, None)


@pytest.mark.parametrize("rate", [1 / 3600, 100_000])
def test_the_ends_of_the_range_are_in_it(api: Api, sender: SenderIdentity, rate: float) -> None:
    assert ask(api.patch(f"/senders/{sender.uid}", {"max_rate": rate}))["max_rate"] == rate


def test_a_change_that_names_nothing_is_refused(api: Api, sender: SenderIdentity) -> None:
    assert code_of(api.patch(f"/senders/{sender.uid}", {})) == (422, "nothing_to_change")


def test_a_sender_of_another_publisher_is_not_limited(sender: SenderIdentity, make_api: Callable[..., Api]) -> None:
    assert code_of(make_api().patch(f"/senders/{sender.uid}", {"max_rate": 1})) == (404, "not_found")
    assert limits(sender.pk) == SenderLimits(None, None)


def test_a_key_that_may_only_read_limits_nobody(api: Api, sender: SenderIdentity, make_api: Callable[..., Api]) -> None:
    reader = make_api(api.publisher, scopes=("newsletters:read",))
    assert code_of(reader.patch(f"/senders/{sender.uid}", {"max_rate": 1})) == (403, "scope_missing")
    assert limits(sender.pk) == SenderLimits(None, None)
