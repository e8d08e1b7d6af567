"""HEAD below /api/: what GET would answer, without its body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from core.problems import API_PREFIX


class HeadMiddleware:
    """Ask the endpoint as GET, and send the headers alone. `Allow` names HEAD wherever it names GET."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(API_PREFIX):
            return self._get_response(request)
        if request.method != "HEAD":
            return _with_head(self._get_response(request))
        request.method = "GET"
        response = self._get_response(request)
        # The log outside of this names what was asked.
        request.method = "HEAD"
        return _without_body(_with_head(response))


def _with_head(response: HttpResponseBase) -> HttpResponseBase:
    allowed = {one.strip() for one in response.headers.get("Allow", "").split(",")}
    if "GET" in allowed:
        # Ninja lists the methods of a set, in another order in each process.
        response["Allow"] = ", ".join(sorted(allowed | {"HEAD"}))
    return response


def _without_body(response: HttpResponseBase) -> HttpResponseBase:
    if isinstance(response, HttpResponse):
        length = response.headers.get("Content-Length", str(len(response.content)))
        response.content = b""
        response["Content-Length"] = length
        return response
    if isinstance(response, StreamingHttpResponse):
        # Django closes what was replaced.
        response.streaming_content = ()
    return response
