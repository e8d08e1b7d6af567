from __future__ import annotations

from typing import cast

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from core.head import HeadMiddleware
from newsletters.models import Newsletter
from tests.api.fixtures import Api


@pytest.mark.django_db
def test_head_answers_as_get_without_the_body(api: Api, newsletter: Newsletter) -> None:
    for path in ("/newsletters", f"/newsletters/{newsletter.uid}", "/openapi.json"):
        whole, head = api.get(path), api.send("HEAD", path)
        assert head.status_code == whole.status_code == 200
        assert head.content == b""
        assert head["Content-Length"] == str(len(whole.content))
        assert head["Content-Type"] == whole["Content-Type"]


@pytest.mark.django_db
def test_head_is_refused_as_get_is(api: Api, newsletter: Newsletter) -> None:
    assert (
        api.client.head("/api/v1/newsletters/nl_unknown", headers={"Authorization": f"Bearer {api.key}"}).status_code
        == 404
    )
    assert api.client.head("/api/v1/newsletters").status_code == 401
    refused = api.client.head(f"/api/v1/newsletters/{newsletter.uid}/imports?limit=0")
    assert refused.content == b""
    assert refused["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_head_of_what_only_takes_post_is_405(api: Api) -> None:
    refused = api.client.head("/api/v1/issues/iss_1/send", headers={"Authorization": f"Bearer {api.key}"})
    assert (refused.status_code, refused["Allow"]) == (405, "POST")


def test_the_log_and_what_stands_outside_see_head() -> None:
    request = HttpRequest()
    request.path_info, request.method = "/api/v1/newsletters", "HEAD"
    seen: list[str | None] = []

    def answer(asked: HttpRequest) -> HttpResponse:
        seen.append(asked.method)
        return HttpResponse(b"abc")

    response = HeadMiddleware(answer)(request)
    assert (seen, request.method) == (["GET"], "HEAD")
    assert response["Content-Length"] == "3"


def test_a_stream_is_not_read() -> None:
    request = HttpRequest()
    request.path_info, request.method = "/api/v1/exports", "HEAD"
    stream = StreamingHttpResponse(iter([b"a row"]), content_type="text/csv")
    response = HeadMiddleware(lambda _request: stream)(request)
    assert list(cast("StreamingHttpResponse", response)) == []
    assert response["Content-Type"] == "text/csv"
