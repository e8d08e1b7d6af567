from __future__ import annotations

import ast
import json
from http import HTTPStatus
from typing import Any

import pytest
from django.http import HttpResponse

from core import problems
from core.errors import EVERY_KIND
from newsletters.api.codes import MEANINGS, STATUS_OF
from tests.api import documented
from tests.architecture.source import PACKAGES, python_files
from tests.services.environment import ROOT

ERRORS = {kind.__name__: kind.status for kind in EVERY_KIND}
# Pages for readers and the command line; the API has no operation that raises them.
ELSEWHERE = {
    "closed",
    "invalid_name",
    "unknown_scope",
    "unknown_time_zone",
    "newsletter_not_found",
    "publisher_not_found",
    "several_publishers",
    "unknown_newsletter",
    "wrong_field_count",
}
# People's journeys on pages, none of which the API calls.
PEOPLE = ("accounts/people", "accounts/doors", "accounts/web")
# Ninja's schema refuses these before the journey that raises them is asked.
EARLIER = {"unknown_body_format", "wrong_number_of_addresses"}


def literals() -> set[str]:
    """Return every text that stands in our code, but for the list of codes itself."""
    found: set[str] = set()
    for path in python_files(*PACKAGES):
        if path.name != "codes.py":
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            found |= {str(one.value) for one in nodes if isinstance(one, ast.Constant)}
    return found


def raised() -> set[tuple[str, int]]:
    """Return each code that our code raises as a literal, with the status of its error."""
    found: set[tuple[str, int]] = set()
    for path in python_files(*PACKAGES):
        if str(path.relative_to(ROOT)).startswith(PEOPLE):
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            place = {"invalid_field": 1, "problem": 1}.get(call.func.id, 0)
            status = 422 if call.func.id == "invalid_field" else ERRORS.get(call.func.id)
            if status is None or len(call.args) <= place:
                continue
            code = call.args[place]
            if isinstance(code, ast.Constant):
                found.add((str(code.value), status))
    return found


def test_a_code_has_one_status() -> None:
    assert sum(len(group) for group in MEANINGS.values()) == len(STATUS_OF)


def test_every_code_that_is_raised_is_known_with_its_status() -> None:
    unknown = {(code, status) for code, status in raised() if status != 410 and STATUS_OF.get(code) != status}
    assert {code for code, _ in unknown} - ELSEWHERE - EARLIER == set()


def test_every_known_code_is_raised_somewhere() -> None:
    assert set(STATUS_OF) - literals() == set()


def test_an_error_says_what_its_status_is_called() -> None:
    for status in MEANINGS:
        assert problems.title_of(status)
        assert HTTPStatus(status)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"code": "newly_invented"}),
        (404, {"errors": [{"code": "newly_invented", "detail": "No.", "pointer": "/a"}]}),
        (418, {}),
        (200, {}),
    ],
)
def test_an_answer_that_is_not_documented_fails_its_test(status: int, body: dict[str, Any]) -> None:
    good = json.loads(problems.from_status(404).content)
    answer = HttpResponse(json.dumps(good), status=404, content_type=problems.MEDIA_TYPE)
    documented.check("GET", "/api/v1/issues/iss_1", answer)
    answer = HttpResponse(json.dumps(good | body), status=status, content_type=problems.MEDIA_TYPE)
    with pytest.raises(AssertionError):
        documented.check("GET", "/api/v1/issues/iss_1", answer)
