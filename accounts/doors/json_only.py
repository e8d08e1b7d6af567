"""JSON is taken as application/json alone (T25): a browser sends text/plain across sites without asking first."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.doors.second_factor_rule import API_PREFIX

MEDIA_TYPE = "application/json"


class JsonOnlyMiddleware:
    """Refuses bodies of other types at the API of accounts, in the form of django-allauth's errors."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info.startswith(API_PREFIX) and _has_body(request) and request.content_type != MEDIA_TYPE:
            error = {"code": "unsupported_media_type", "message": f"Send the body as {MEDIA_TYPE}."}
            return JsonResponse({"status": 415, "errors": [error]}, status=415)
        return self._get_response(request)


def _has_body(request: HttpRequest) -> bool:
    return request.META.get("CONTENT_LENGTH") not in (None, "", "0") or "Transfer-Encoding" in request.headers
