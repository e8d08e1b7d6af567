"""Addresses that are none, by the rows of the list of hostile inputs (E): 422, and nothing is stored."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from newsletters.models import Newsletter, Subscriber
from tests import cast
from tests.api.fixtures import Api, ask, code_of, row_counts

pytestmark = pytest.mark.django_db
CYRILLIC = "\u0430\u0440\u0440\u04cf\u0435"
UNSEEN = "\0\u200b\u202e\ufeff"
NONE: dict[str, list[Any]] = {
    "E1 line ends": ["a@b.co\n", "\na@b.co", "a@b.co\r\nBcc: x@y.co", "a@b.co\r", "a\n@b.co", "a@b.co\x0b"],
    "E2 several": ["a@b.co,c@d.co", "a@b.co;c@d.co", "a@b.co c@d.co", "a@b.co, c@d.co"],
    "E4 quoted": ["a b@c.co", '"a b"@c.co', '"a\\"b"@c.co', '"a"@b.co', "Ada <a@b.co>", "<a@b.co>", "(x)a@b.co"],
    "E5 numbers": ["a@[127.0.0.1]", "a@[IPv6:::1]", "a@123.123.123.123", "a@127.0.0.1", "a@0x7f000001"],
    "E6 no domain": ["a@localhost", "a@b"],
    "E7 dots": ["a..b@c.co", ".a@b.co", "a.@b.co", "@b.co", "a@", "a@@b.co", "a", "a@b@c.co", "@"],
    "E8 labels": ["a@-b.co", "a@b-.co", "a@b..co", "a@b.co.", "a@.b.co", "a@b_c.co", "a@b.c-"],
    "E10 length": [
        "a" * 65 + "@b.co",
        "a@" + "b" * 64 + ".co",
        "a@" + ".".join(["b" * 60] * 5) + ".co",
        "a" * 64 + "@" + ".".join(["b" * 60] * 4) + ".co",
        "a" * 10_000 + "@b.co",
    ],
    "E11 unseen": [
        "a\0@b.co",
        "a\u200b@b.co",
        "a@b\u200b.co",
        "a\u202e@b.co",
        "a@b\u202e.co",
        "\ufeffa@b.co",
        "a\u00ad@b.co",
    ],
    "E16 encoded words": ["=?utf-8?q?a?=@b.co"],
    "E20 never public": ["a@b.invalid", "a@b.localhost", "a@b.local", "a@b.onion"],
    "E22 no text": ["", " ", None, ["a@b.co"], 5, True, {"a": 1}, "\u3164", "\u00a0"],
    "smuggled command": ["a@b.co>\r\nRCPT TO:<evil@x.co", "a@b.co> SIZE=1", "a@b.co\x00", "%0a@b.co\n"],
}


@pytest.fixture
def path(newsletter: Newsletter) -> str:
    return f"/newsletters/{newsletter.uid}/subscriptions"


@pytest.mark.parametrize("row", NONE)
def test_what_is_no_address_is_refused(api: Api, path: str, row: str) -> None:
    before = row_counts()
    for address in NONE[row]:
        answer = api.post(path, {"address": address})
        assert answer.status_code == 422, (address, answer.content)
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/address"], address
    assert row_counts() == before


@pytest.mark.parametrize("field", ["from_address", "reply_to"])
@pytest.mark.parametrize("row", [row for row in NONE if row != "E22 no text"])
def test_nor_does_it_become_a_sender(api: Api, row: str, field: str) -> None:
    good = {"name": "N", "slug": "n", "from_address": "news@gazette.example", "postal_address": "1 Square"}
    before = row_counts()
    for address in NONE[row]:
        answer = api.post("/newsletters", good | {field: address})
        assert answer.status_code == 422, (address, answer.content)
        assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{field}"], address
    assert row_counts() == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a@ünï.de", "a@xn--n-nga1b.de"),
        ("A@B.CO", "a@b.co"),
        ("Ada@example.org", "ada@EXAMPLE.ORG"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@b\u3002co", "a@b.co"),
    ],
    ids=["E13 international", "E19 case", "E19 case of both", "E13 A-label", "E13 ideographic stop"],
)
def test_one_mailbox_is_one_reader_however_it_is_written(api: Api, path: str, first: str, second: str) -> None:
    one = ask(api.post(path, {"address": first}), 201)
    other = ask(api.post(path, {"address": second}), 200)
    assert one["id"] == other["id"]
    assert one["subscriber"]["address"].isascii()
    assert Subscriber.objects.count() == 1


@pytest.mark.parametrize("address", ["-oQ/tmp@b.co", "`id`@b.co", "|/bin/sh@b.co", f"a@{CYRILLIC}.com"])
def test_an_odd_address_that_is_one_is_stored_as_it_is(api: Api, path: str, address: str) -> None:
    # E14 and E17: no shell ever sees it, and an export puts a quotation mark before it.
    stored = ask(api.post(path, {"address": address}), 201)["subscriber"]["address"]
    assert stored.partition("@")[0] == address.partition("@")[0]


@override_settings(ALLOW_TEST_ADDRESSES=False)
@pytest.mark.parametrize("address", ["a@b.test", "a@b.invalid", "a@b.example", "a@b.localhost"])
def test_names_that_reach_nobody_are_refused_where_mail_is_real(api: Api, path: str, address: str) -> None:
    assert code_of(api.post(path, {"address": address})) == (422, "invalid_address")


@override_settings(BOUNCE_ADDRESS="bounces@gazette.example", UNSUBSCRIBE_MAILBOX="leave@gazette.example")
@pytest.mark.parametrize("address", ["bounces@gazette.example", "BOUNCES+x@gazette.example", "leave+1@gazette.example"])
def test_our_own_mailboxes_read_nothing(api: Api, path: str, address: str) -> None:
    # E21: what is mailed to them comes back to us.
    assert code_of(api.post(path, {"address": address})) == (422, "invalid_address")


def test_a_reader_who_left_is_not_brought_back(api: Api, newsletter: Newsletter, path: str) -> None:
    # E23 and C10, for somebody with a key: a vouched-for reader stays away.
    reader = cast.make_reader(newsletter, address=cast.ADA)
    ask(api.post(f"/subscriptions/{reader.uid}/unsubscribe"))
    answer = api.post(path, {"address": cast.ADA, "consent_source": "a form"})
    assert code_of(answer) == (409, "reader_unsubscribed")
