from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.models.functions import Now
from django.http import HttpResponse
from django.test import Client

from accounts.models import Publisher
from newsletters.models import Issue, IssueState, Newsletter
from tests import cast, racing
from tests.api import documented

PROBLEM_KEYS = {"type", "title", "status", "detail", "code", "errors"}


@dataclass
class Api:
    """A caller of /api/v1 with one publisher's key; checks every answer against the document on the way."""

    publisher: Publisher
    key: str
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Any:
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent["Authorization"] = f"Bearer {self.key}"
        address = path if path.startswith("/api/") else f"/api/v1{path}"
        answer = self.client.generic(method, address, data, content_type=content_type, headers=sent)
        documented.check(method, address, answer)
        if answer.status_code >= 400 and method != "HEAD":
            problem = json.loads(answer.content)
            assert answer["Content-Type"] == "application/problem+json"
            assert set(problem) == PROBLEM_KEYS
            assert problem["status"] == answer.status_code
            assert b"Traceback" not in answer.content
        return answer

    def get(self, path: str) -> Any:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None, **headers: Any) -> Any:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any) -> Any:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)

    def items(self, path: str) -> list[Any]:
        """Return all rows of a list, page by page."""
        found: list[Any] = []
        joint = "&" if "?" in path else "?"
        page = ask(self.get(path))
        while True:
            found += page["items"]
            if page["next"] is None:
                return found
            page = ask(self.get(f"{path}{joint}cursor={page['next']}"))


def at_once(api: Api, count: int, ask: Callable[[Api, int], Any]) -> list[Any]:
    """Let `count` callers with one key ask at the same moment, each told its number; return their answers."""

    def request(number: int) -> Any:
        return ask(Api(publisher=api.publisher, key=api.key), number)

    return racing.at_once(*[functools.partial(request, number) for number in range(count)])


def ask(answer: HttpResponse, status: int = 200) -> Any:
    """Return an answer's JSON after checking its status."""
    assert answer.status_code == status, answer.content
    return json.loads(answer.content) if answer.content else None


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, json.loads(answer.content)["code"]


def pointers_of(answer: HttpResponse) -> set[str]:
    return {error["pointer"] for error in json.loads(answer.content)["errors"]}


def issue_in(newsletter: Newsletter, state: IssueState, **fields: Any) -> Issue:
    times: dict[str, Any] = {}
    if state == IssueState.SCHEDULED:
        times = {"scheduled_at": Now()}
    elif state != IssueState.DRAFT:
        times = {"started_at": Now(), "resumed_at": Now()}
    if state == IssueState.SENT:
        times |= {"fan_out_done_at": Now(), "finished_at": Now()}
    return cast.make_issue(newsletter, state=state, **times, **fields)


def send_issue(api: Api, issue: Issue, key: str | None = None, **headers: Any) -> Any:
    headers |= {"Idempotency_Key": key or str(uuid.uuid4())}
    return api.send("POST", f"/issues/{issue.uid}/send", **headers)


def row_counts() -> dict[str, int]:
    """Return how many rows each table of ours has."""
    models = [model for name in ("accounts", "core", "newsletters") for model in apps.get_app_config(name).get_models()]
    counts = ", ".join(f'(SELECT COUNT(*) FROM "{model._meta.db_table}")' for model in models)  # noqa: S608  # our own names
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {counts}")
        return dict(zip([model.__name__ for model in models], cursor.fetchone() or (), strict=True))


@pytest.fixture
def make_api(db: None) -> Callable[..., Api]:
    """Return a maker of callers: `make_api()`, `make_api(publisher, newsletters=[…])`, `make_api(scopes=(…,))`."""

    def make(
        publisher: Publisher | None = None,
        *,
        scopes: tuple[str, ...] = cast.ALL_SCOPES,
        newsletters: list[Newsletter] | None = None,
    ) -> Api:
        publisher = publisher or cast.make_publisher()
        key = cast.make_api_key(publisher, scopes=scopes, newsletters=newsletters)[1]
        return Api(publisher=publisher, key=key)

    return make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()


@pytest.fixture
def newsletter(api: Api) -> Newsletter:
    return cast.make_newsletter(api.publisher)
