"""Subscribers, subscriptions and imports."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest

from accounts.models import Scope
from newsletters.audience import importing
from newsletters.models import Import, Newsletter, Notice, Subscriber, SubscriptionState
from tests import cast
from tests.api.fixtures import Api, ask, code_of, pointers_of, row_counts

pytestmark = pytest.mark.django_db
ADA = {"address": "Ada@Example.org", "name": "Ada", "attributes": {"city": "Porto", "visits": 3}}


@pytest.fixture
def path(newsletter: Newsletter) -> str:
    return f"/newsletters/{newsletter.uid}/subscriptions"


def test_a_reader_waits_for_confirmation(api: Api, path: str) -> None:
    made = ask(api.post(path, ADA), 201)
    assert made["state"] == "pending"
    assert made["subscriber"]["address"] == "Ada@example.org"
    assert made["subscriber"]["attributes"] == ADA["attributes"]
    assert Notice.objects.count() == 1
    assert ask(api.get(f"/subscriptions/{made['id']}")) == made


def test_a_reader_with_stated_consent_is_active_at_once(api: Api, path: str) -> None:
    made = ask(api.post(path, ADA | {"consent_source": "spring fair"}), 201)
    assert made["state"] == "active"
    assert not Notice.objects.exists()
    log = api.items(f"/subscriptions/{made['id']}/consent")
    assert [(line["state"], line["source"], line["detail"]) for line in log] == [("active", "subscribe", "spring fair")]


def test_stating_consent_needs_its_own_scope(newsletter: Newsletter, path: str, make_api: Callable[..., Api]) -> None:
    narrow = make_api(newsletter.publisher, scopes=(Scope.SUBSCRIBERS_WRITE,))
    before = row_counts()
    assert code_of(narrow.post(path, ADA | {"consent_source": "spring fair"})) == (403, "scope_missing")
    assert row_counts() == before
    ask(narrow.post(path, ADA), 201)


def test_a_reader_who_is_there_already_is_200_and_unchanged(api: Api, path: str) -> None:
    first = ask(api.post(path, ADA), 201)
    again = ask(api.post(path, {"address": "ADA@EXAMPLE.ORG", "name": "Somebody else"}), 200)
    assert again == first


def test_nobody_vouches_for_a_reader_who_left(api: Api, path: str) -> None:
    made = ask(api.post(path, ADA | {"consent_source": "spring fair"}), 201)
    left = ask(api.post(f"/subscriptions/{made['id']}/unsubscribe"))
    assert left["state"] == "unsubscribed"
    assert ask(api.post(f"/subscriptions/{made['id']}/unsubscribe")) == left
    answer = api.post(path, ADA | {"consent_source": "spring fair"})
    assert code_of(answer) == (409, "reader_unsubscribed")
    log = api.items(f"/subscriptions/{made['id']}/consent?limit=1")
    assert [line["state"] for line in log] == ["active", "unsubscribed"]


def test_subscriptions_are_found_by_state_and_part_of_the_address(api: Api, newsletter: Newsletter, path: str) -> None:
    for address in cast.READERS:
        cast.make_reader(newsletter, address=address)
    left = cast.make_reader(newsletter, address="gone@example.org", state=SubscriptionState.UNSUBSCRIBED)
    assert [row["id"] for row in api.items(f"{path}?state=unsubscribed")] == [left.uid]
    found = {row["subscriber"]["address"] for row in api.items(f"{path}?search=EXAMPLE.NET&limit=1")}
    assert found == {cast.CHLOE, cast.DMITRI}
    assert api.items(f"{path}?search=%25") == []
    assert {row["address"] for row in api.items("/subscribers?search=ada@")} == {cast.ADA}


def test_a_change_of_a_reader_replaces_what_it_names(api: Api, newsletter: Newsletter) -> None:
    subscriber = cast.make_subscriber(newsletter.publisher, attributes={"city": "Porto", "old": 1})
    path = f"/subscribers/{subscriber.uid}"
    changed = ask(api.patch(path, {"attributes": {"city": "Braga"}}))
    assert (changed["name"], changed["attributes"]) == ("Ada", {"city": "Braga"})
    answer = api.patch(path, {"address": "new@example.org"})
    assert (code_of(answer), pointers_of(answer)) == ((422, "unknown_field"), {"/address"})


def test_an_erased_reader_is_gone(api: Api, newsletter: Newsletter) -> None:
    reader = cast.make_reader(newsletter)
    ask(api.delete(f"/subscribers/{reader.subscriber.uid}"), 204)
    assert not Subscriber.objects.exists()
    assert code_of(api.get(f"/subscriptions/{reader.uid}")) == (404, "not_found")
    assert code_of(api.delete(f"/subscribers/{reader.subscriber.uid}")) == (404, "not_found")


def upload_declaring(api: Api, newsletter: Newsletter, length: str, body: BytesIO) -> Any:
    environment: dict[str, Any] = {"CONTENT_LENGTH": length, "wsgi.input": body}
    return api.client.post(
        f"/api/v1/newsletters/{newsletter.uid}/imports?consent_source=x",
        content_type="text/csv",
        headers={"Authorization": f"Bearer {api.key}"},
        **environment,
    )


def upload(api: Api, newsletter: Newsletter, raw: bytes, content_type: str = "text/csv") -> Any:
    path = f"/newsletters/{newsletter.uid}/imports?consent_source=spring+fair"
    return api.send("POST", path, raw=raw, content_type=content_type)


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8", 'text/csv; charset="UTF-8"'])
def test_a_file_is_accepted_worked_off_and_followed(api: Api, newsletter: Newsletter, content_type: str) -> None:
    raw = b"email,name,city\nada@example.org,Ada,Porto\nnobody,,\nADA@example.org,,\nboris@example.org,,\n"
    answer = upload(api, newsletter, raw, content_type)
    made = ask(answer, 202)
    assert answer["Location"] == f"/api/v1/imports/{made['id']}"
    assert (made["state"], made["total"], made["handled"]) == ("queued", 4, 0)
    importing.run(Import.objects.get().pk)
    done = ask(api.get(answer["Location"]))
    counts = {name: done[name] for name in ("handled", "added", "duplicates", "invalid", "refused", "already_present")}
    assert done["state"] == "done"
    assert counts == {"handled": 4, "added": 2, "duplicates": 1, "invalid": 1, "refused": 0, "already_present": 0}
    errors = api.items(f"/imports/{made['id']}/errors?limit=1")
    assert [(error["line"], error["code"]) for error in errors if error["line"] == 3] == [(3, "invalid_address")]
    assert [row["id"] for row in api.items(f"/newsletters/{newsletter.uid}/imports")] == [made["id"]]


@pytest.mark.parametrize(
    ("raw", "content_type", "status"),
    [
        (b"\n", "text/csv", 422),
        (b"name\nAda\n", "text/csv", 422),
        (b'email\n"ada@example.org\nboris@example.org\n', "text/csv", 422),
        (b"email\n\xff\xfe@example.org\n", "text/csv", 422),
        (b"email\nada@example.org\n", "application/json", 415),
        (b"email\nada@example.org\n", "text/plain", 415),
        (b"email\nada@example.org\n", "application/zip", 415),
        (b"email\nada@example.org\n", "text/csv; charset=utf-16", 415),
        (b"PK\x03\x04 email", "text/csv", 415),
    ],
)
def test_what_is_not_a_list_of_readers_is_refused(
    api: Api, newsletter: Newsletter, raw: bytes, content_type: str, status: int
) -> None:
    before = row_counts()
    assert upload(api, newsletter, raw, content_type).status_code == status
    assert row_counts() == before


def test_a_file_over_50_mb_is_refused(api: Api, newsletter: Newsletter) -> None:
    before = row_counts()
    answer = upload_declaring(api, newsletter, "50000001", BytesIO(b"email\nada@example.org\n"))
    assert code_of(answer) == (413, "body_too_large")
    assert row_counts() == before


def test_a_file_of_gigabytes_is_refused_before_it_is_read(api: Api, newsletter: Newsletter) -> None:
    class Untouched(BytesIO):
        def read(self, *_size: object) -> bytes:
            raise AssertionError("the body was read")

    answer = upload_declaring(api, newsletter, "5000000001", Untouched())
    assert code_of(answer) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("length", "code"), [("", "length_required"), ("-5", "length_required"), ("999", "body_incomplete")]
)
def test_a_file_whose_length_is_not_as_declared_is_refused(
    api: Api, newsletter: Newsletter, length: str, code: str
) -> None:
    before = row_counts()
    answer = upload_declaring(api, newsletter, length, BytesIO(b"email\nada@example.org\n"))
    assert code_of(answer) == (400, code)
    assert row_counts() == before


@pytest.mark.parametrize("query", ["", "consent_source=", "consent_source=%20", f"consent_source={'x' * 201}"])
def test_an_import_states_where_consent_was_given(api: Api, newsletter: Newsletter, query: str) -> None:
    path = f"/newsletters/{newsletter.uid}/imports?{query}"
    answer = api.send("POST", path, raw=b"email\nada@example.org\n", content_type="text/csv")
    assert answer.status_code == 422
    assert pointers_of(answer) == {"consent_source"}
    assert not Import.objects.exists()
