"""ETag, If-None-Match and If-Match on everything that has an address of its own."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from newsletters.models import Newsletter
from newsletters.publishing.newsletters import update_newsletter
from tests import cast
from tests.api import documented
from tests.api.fixtures import Api, ask, code_of, row_counts
from tests.api.operations import make_ids

DOCUMENT = {path.removeprefix("/api/v1"): methods for path, methods in documented.DOCUMENT["paths"].items()}
CHANGES: dict[str, dict[str, Any]] = {
    "/newsletters/{newsletter_id}": {"name": "B"},
    "/issues/{issue_id}": {"subject": "B"},
    "/senders/{sender_id}": {"max_rate": 5.0},
    "/subscribers/{subscriber_id}": {"name": "B"},
    "/destinations/{destination_id}": {"max_concurrency": 7},
}
PATCHES = sorted(path for path, methods in DOCUMENT.items() if "patch" in methods)
DELETES = sorted(path for path, methods in DOCUMENT.items() if "delete" in methods)


def is_one_thing(operation: dict[str, Any]) -> bool:
    """Whether the answer is neither a page of a list nor a file."""
    content = operation["responses"]["200"]["content"].get("application/json")
    return content is not None and not content["schema"].get("$ref", "").endswith("Page")


GETS = sorted(path for path, methods in DOCUMENT.items() if "get" in methods and is_one_thing(methods["get"]))


@pytest.fixture
def address(api: Api) -> Callable[[str], str]:
    """Return a filler of paths such as "/issues/{issue_id}" with the ids of one object of each kind."""
    ids = make_ids(api.publisher)
    return lambda path: path.format(**ids)


def test_no_operation_is_missing_here() -> None:
    assert set(PATCHES) == CHANGES.keys()
    assert set(PATCHES) <= set(GETS)
    assert set(DELETES) <= set(GETS)
    for path in PATCHES:
        for method in {"patch", "delete"} & DOCUMENT[path].keys():
            assert "If-Match" in {one["name"] for one in DOCUMENT[path][method]["parameters"]}
            assert "412" in DOCUMENT[path][method]["responses"]
    for path in GETS:
        assert "If-None-Match" in {one["name"] for one in DOCUMENT[path]["get"]["parameters"]}
        assert "304" in DOCUMENT[path]["get"]["responses"]


@pytest.mark.django_db
# The sample links of a preview carry the second at which they were made.
@pytest.mark.parametrize("path", [path for path in GETS if not path.endswith("/preview")])
def test_who_has_it_already_gets_304_without_a_body(path: str, api: Api, address: Callable[[str], str]) -> None:
    first = api.get(address(path))
    etag = first["ETag"]
    assert etag.startswith('"')
    assert api.get(address(path))["ETag"] == etag
    for named in (etag, f'"other", {etag}', "*"):
        again = api.send("GET", address(path), If_None_Match=named)
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
    for other in ('"other"', etag.strip('"'), "", '"', f"W/{etag}"):
        assert api.send("GET", address(path), If_None_Match=other).content == first.content


@pytest.mark.django_db
@pytest.mark.dialects
@pytest.mark.parametrize("path", PATCHES)
def test_a_change_of_what_was_seen_is_made_and_of_an_older_version_refused(
    path: str, api: Api, address: Callable[[str], str]
) -> None:
    here, change = address(path), CHANGES[path]
    seen = api.get(here)
    for wrong in ('"other"', "garbage", "", f"W/{seen['ETag']}"):
        assert code_of(api.send("PATCH", here, change, If_Match=wrong)) == (412, "precondition_failed")
    assert api.get(here).content == seen.content
    changed = api.send("PATCH", here, change, If_Match=f'"other", {seen["ETag"]}')
    assert ask(changed).items() >= change.items()
    assert (changed["ETag"], changed.content) == (api.get(here)["ETag"], api.get(here).content)
    assert changed["ETag"] != seen["ETag"]
    assert code_of(api.send("PATCH", here, change, If_Match=seen["ETag"])) == (412, "precondition_failed")
    assert api.get(here).content == changed.content
    ask(api.send("PATCH", here, change, If_Match="*"))


@pytest.mark.django_db
@pytest.mark.dialects
@pytest.mark.parametrize("path", DELETES)
def test_what_has_changed_since_it_was_seen_is_not_deleted(path: str, api: Api, address: Callable[[str], str]) -> None:
    here = address(path)
    before = row_counts()
    assert code_of(api.send("DELETE", here, If_Match='"other"')) == (412, "precondition_failed")
    assert row_counts() == before
    assert api.send("DELETE", here, If_Match=api.get(here)["ETag"]).status_code == 204
    assert code_of(api.send("DELETE", here, If_Match="*")) == (404, "not_found")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATCHES)
def test_of_many_changes_of_one_version_one_is_made(path: str, api: Api, address: Callable[[str], str]) -> None:
    here, count = address(path), 20
    gate = threading.Barrier(count)
    [(field, value)] = CHANGES[path].items()
    etag = api.get(here)["ETag"]

    def change(number: int) -> Any:
        caller = Api(publisher=api.publisher, key=api.key)
        mine = f"{value} {number}" if isinstance(value, str) else value + number
        try:
            gate.wait(timeout=120)
            return caller.send("PATCH", here, {field: mine}, If_Match=etag)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(change, range(count)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: count - 1}
    [won] = [answer for answer in answers if answer.status_code == 200]
    assert api.get(here).content == won.content


@pytest.mark.django_db(transaction=True)
def test_changes_of_a_newsletter_and_its_sender_cannot_block_each_other(api: Api, newsletter: Newsletter) -> None:
    # Locks of the newsletter and of the sender's row, taken in one order whether a version is named or not.
    unverified = cast.make_sender(api.publisher, address="new@gazette.example", verified=False)
    here, count = f"/newsletters/{newsletter.uid}", 16
    gate = threading.Barrier(count)

    def change(number: int) -> int:
        caller = Api(publisher=api.publisher, key=api.key)
        try:
            gate.wait(timeout=120)
            for _ in range(5):
                named: dict[str, Any] = {"If_Match": "*"} if number % 2 else {}
                answer = caller.send("PATCH", here, {"from_address": unverified.address}, **named)
                if answer.status_code != 200:
                    break
            return int(answer.status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        assert set(pool.map(change, range(count))) == {200}
    assert update_newsletter(newsletter, name="C").sender == unverified
