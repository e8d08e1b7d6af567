from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from accounts import audit, rate_limits, request_log
from accounts.audit import Actor
from accounts.journal import Journal
from accounts.models import ActorKind, ApiKey, AuditEntry, LoggedRequest, Publisher
from newsletters.models import Newsletter
from tests import cast
from tests.api.fixtures import Api, ask, code_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal that is written when the test says so."""
    opened = Journal()
    opened.open()
    monkeypatch.setattr(request_log, "journal", opened)
    return opened


def write_down(publisher: Publisher, action: str, *, actor: str = "editor@example.org") -> None:
    audit.record(
        action,
        actor=Actor(ActorKind.USER, actor, "198.51.100.7"),
        publisher_id=publisher.pk,
        object_type="issue",
        object_id=f"iss_{action}",
        detail={"why": "ä"},
    )


def file_of(answer: Any) -> str:
    assert answer.status_code == 200
    assert answer.streaming
    return b"".join(answer.streaming_content).decode()


def test_each_request_with_a_key_is_listed_with_its_answer(api: Api, newsletter: Newsletter, journal: Journal) -> None:
    answers = [
        api.get("/newsletters"),
        api.send("HEAD", "/newsletters"),
        api.post("/newsletters", {"nonsense": 1}),
        api.get("/issues/iss_0"),
        api.delete(f"/newsletters/{newsletter.uid}"),
    ]
    journal.flush()
    key = ApiKey.objects.get()
    found = ask(api.get("/api-requests"))["items"]
    assert [(one["method"], one["operation"], one["status"], one["code"]) for one in reversed(found)] == [
        ("GET", "list_newsletters", 200, ""),
        ("GET", "list_newsletters", 200, ""),
        ("POST", "create_newsletter", 422, "invalid_values"),
        ("GET", "get_issue", 404, "not_found"),
        ("DELETE", "delete_newsletter", 204, ""),
    ]
    assert [one["request_id"] for one in reversed(found)] == [answer["X-Request-Id"] for answer in answers]
    assert {(one["key_id"], one["key_name"]) for one in found} == {(key.uid, "tests")}
    assert all(one["milliseconds"] > 0 for one in found)


def test_what_is_refused_to_a_key_is_listed_too(
    make_api: Callable[..., Api], journal: Journal, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_api(scopes=("issues:read",))
    reader.get("/newsletters")
    monkeypatch.setattr(rate_limits, "WINDOW_SECONDS", 3600)
    settings.API_KEY_RATE = 1
    for _ in range(2):
        reader.get("/issues/iss_0")
    journal.flush()
    settings.API_KEY_RATE = 0
    found = make_api(reader.publisher).items("/api-requests")
    assert [one["code"] for one in reversed(found)] == ["scope_missing", "not_found", "rate_limited"]


def test_who_is_not_known_is_not_listed(make_api: Callable[..., Api], journal: Journal) -> None:
    api = make_api()
    for key in ("", api.key[:-3] + "AAA"):
        Api(api.publisher, key).get("/newsletters")
    ApiKey.objects.update(revoked_at=Now())
    api.get("/newsletters")
    assert journal.flush() == 0


def test_a_request_does_not_wait_for_its_entry(
    api: Api, journal: Journal, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # The key and the list.
    with django_assert_num_queries(2):
        api.get("/senders")
    assert not LoggedRequest.objects.exists()


def test_lists_can_be_cut_to_a_period_a_key_an_action_or_an_object(
    make_api: Callable[..., Api], journal: Journal
) -> None:
    api = make_api()
    other = make_api(api.publisher)
    for caller in (api, other):
        caller.get("/senders")
    journal.flush()
    LoggedRequest.objects.filter(api_key=ApiKey.objects.earliest("pk")).update(at=Now() - timedelta(days=2))
    day = (LoggedRequest.objects.latest("pk").at - timedelta(days=1)).isoformat().replace("+00:00", "Z")
    second = ApiKey.objects.latest("pk").uid
    assert [one["key_id"] for one in api.items(f"/api-requests?since={day}")] == [second]
    assert [one["key_id"] == second for one in api.items(f"/api-requests?until={day}")] == [False]
    assert [one["key_id"] for one in api.items(f"/api-requests?key_id={second}")] == [second]
    for action in ("issue.started", "issue.paused"):
        write_down(api.publisher, action)
    assert [one["action"] for one in api.items("/audit-entries?action=issue.paused")] == ["issue.paused"]
    assert [one["action"] for one in api.items("/audit-entries?object_id=iss_issue.started")] == ["issue.started"]
    assert api.items(f"/audit-entries?until={day}") == []


@pytest.mark.parametrize("path", ["/api-requests", "/audit-entries", "/api-requests/export", "/audit-entries/export"])
@pytest.mark.parametrize(
    "moment",
    [
        "0000-00-00T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00%2B01:00",
        "2026-12-24",
        "2026-12-24T08:00:00",
        "1766563200",
        "now",
        "",
    ],
)
def test_what_is_no_time_is_refused(api: Api, path: str, moment: str) -> None:
    assert code_of(api.get(f"{path}?since={moment}")) == (422, "invalid_time")


def test_a_key_of_another_publisher_is_404(make_api: Callable[..., Api]) -> None:
    api, theirs = make_api(), make_api()
    foreign = ApiKey.objects.get(publisher=theirs.publisher).uid
    assert code_of(api.get(f"/api-requests?key_id={foreign}")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api-requests", "/audit-entries"])
def test_nobody_sees_what_others_did(path: str, make_api: Callable[..., Api], journal: Journal) -> None:
    mine, theirs = make_api(), make_api()
    theirs.get("/senders")
    journal.flush()
    write_down(theirs.publisher, "issue.started")
    audit.record("restore.accepted", actor=audit.SYSTEM, publisher_id=None, object_type="site", object_id="")
    assert mine.items(path) == []
    assert file_of(mine.get(f"{path}/export?format=ndjson")) == ""
    assert len(theirs.items(path)) == 1


def test_lists_go_page_by_page(api: Api) -> None:
    for number in range(5):
        write_down(api.publisher, f"issue.{number}")
    shown = [one["action"] for one in api.items("/audit-entries?limit=2")]
    assert shown == [f"issue.{number}" for number in (4, 3, 2, 1, 0)]


def test_the_audit_log_says_who_did_what_to_what_from_where(api: Api) -> None:
    write_down(api.publisher, "issue.started")
    (one,) = api.items("/audit-entries")
    assert one.pop("at")
    assert one == {
        "actor_kind": "user",
        "actor": "editor@example.org",
        "ip_address": "198.51.100.7",
        "action": "issue.started",
        "object_type": "issue",
        "object_id": "iss_issue.started",
        "detail": {"why": "ä"},
    }


def test_files_hold_every_row_of_the_period_the_oldest_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newsletters.api.periods.ROWS_AT_ONCE", 2)
    for number in range(5):
        write_down(api.publisher, f"issue.{number}")
    answer = api.get("/audit-entries/export?format=ndjson")
    assert answer["Content-Disposition"] == 'attachment; filename="audit-log.ndjson"'
    lines = [json.loads(line) for line in file_of(answer).splitlines()]
    assert lines == list(reversed(api.items("/audit-entries")))
    answer = api.get("/audit-entries/export")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(file_of(answer))))
    assert [row["action"] for row in rows] == [f"issue.{number}" for number in range(5)]
    assert rows[0]["detail"] == '{"why":"ä"}'
    future = file_of(api.get("/audit-entries/export?since=2999-01-01T00:00:00Z"))
    assert [line for line in future.splitlines() if line] == [",".join(f'"{name}"' for name in rows[0])]


def test_what_comes_while_a_file_is_read_is_left_out(api: Api) -> None:
    write_down(api.publisher, "issue.0")
    answer = api.get("/audit-entries/export?format=ndjson")
    lines = iter(answer.streaming_content)
    next(lines)
    write_down(api.publisher, "issue.1")
    assert list(lines) == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=HYPERLINK(x)"])
def test_a_spreadsheet_calculates_nothing_from_a_file(api: Api, text: str) -> None:
    write_down(api.publisher, "issue.started", actor=text)
    rows = list(csv.DictReader(io.StringIO(file_of(api.get("/audit-entries/export")), newline="")))
    assert rows[0]["actor"] == f"'{text}"


def test_keys_and_what_they_do_are_on_record(make_api: Callable[..., Api]) -> None:
    assert not AuditEntry.objects.exists()
    owner = make_api()
    cast.make_reader(cast.make_newsletter(owner.publisher))
    assert owner.items("/audit-entries") == []
