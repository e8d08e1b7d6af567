from __future__ import annotations

from datetime import date

import pytest
from django.test import override_settings
from django.urls import path
from ninja import NinjaAPI

from core import problems
from core.errors import ConflictError
from newsletters.api.deprecation import deprecated
from tests.api.fixtures import code_of

LINK = "https://news.example.org/docs/api-changelog"
api = NinjaAPI(urls_namespace="deprecation", docs_url=None)
problems.install(api)


@api.get("/old", operation_id="old", description="As ever.")
@deprecated(since=date(2026, 12, 1), sunset=date(2027, 6, 1), link=LINK)
def _old(request: object, fail: str = "") -> dict[str, str]:
    if fail:
        raise ConflictError("changed_meanwhile", "No.")
    return {"still": "works"}


@api.get("/older", operation_id="older")
@deprecated(since=date(2026, 12, 1), link=LINK)
def _older(request: object) -> dict[str, str]:
    return {}


@api.get("/new", operation_id="new")
def _new(request: object) -> dict[str, str]:
    return {}


urlpatterns = [path("api/", api.urls)]
in_these_urls = override_settings(ROOT_URLCONF=__name__)


@in_these_urls
def test_a_deprecated_operation_works_and_says_so(client: object) -> None:
    answer = client.get("/api/old")  # type: ignore[attr-defined]  # pytest-django's client
    assert answer.json() == {"still": "works"}
    assert answer["Deprecation"] == "@1796083200"
    assert answer["Sunset"] == "Tue, 01 Jun 2027 00:00:00 GMT"
    assert answer["Link"] == f'<{LINK}>; rel="deprecation"; type="text/html"'


@in_these_urls
def test_its_errors_say_so_too(client: object) -> None:
    answer = client.get("/api/old?fail=1")  # type: ignore[attr-defined]  # pytest-django's client
    assert code_of(answer) == (409, "changed_meanwhile")
    assert answer["Deprecation"]


@in_these_urls
@pytest.mark.parametrize(("path", "headers"), [("/api/older", {"Deprecation", "Link"}), ("/api/new", set())])
def test_without_a_last_day_there_is_no_sunset(client: object, path: str, headers: set[str]) -> None:
    answer = client.get(path)  # type: ignore[attr-defined]  # pytest-django's client
    assert {"Deprecation", "Sunset", "Link"} & set(answer.headers) == headers


@in_these_urls
def test_the_document_marks_it() -> None:
    operations = {path: one["get"] for path, one in api.get_openapi_schema(path_prefix="/api/")["paths"].items()}
    assert operations["/api/old"]["deprecated"]
    assert operations["/api/old"]["description"].endswith("It may be removed after 2027-06-01.")
    assert "deprecated" not in operations["/api/new"]
