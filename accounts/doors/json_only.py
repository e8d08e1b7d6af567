"""JSON is taken as application/json alone (T25): a browser sends text/plain across sites without asking first.

And by the rules of the whole service, where django-allauth fails on deep nesting, long numbers and lone surrogates.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, JsonResponse

from core.errors import CourantError
from core.problems import STOCK
from core.strict_json import parse_object
from core.uploads import whole_body

API_PREFIX = "/account/api/"
MEDIA_TYPE = "application/json"


class JsonOnlyMiddleware:
    """Refuses other bodies at the API of accounts, and answers every error in the form of django-allauth's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(API_PREFIX):
            return self._get_response(request)
        response = _refusal(request) or self._get_response(request)
        if response.status_code >= HTTPStatus.BAD_REQUEST and response.headers["Content-Type"] != MEDIA_TYPE:
            words = STOCK.get(response.status_code, ("error", response.reason_phrase))
            told = answer_error(response.status_code, *words)
            # Changed in place, so that its other headers (Allow) stay.
            response.content, response["Content-Type"] = told.content, MEDIA_TYPE
        return response


def _refusal(request: HttpRequest) -> HttpResponse | None:
    if not _has_body(request) or request.method == "GET":
        return None
    if request.content_type != MEDIA_TYPE:
        return answer_error(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", f"Send the body as {MEDIA_TYPE}."
        )
    try:
        parse_object(whole_body(request))
    except RequestDataTooBig:
        return answer_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, *STOCK[HTTPStatus.REQUEST_ENTITY_TOO_LARGE])
    except CourantError as error:
        part = error.errors[0] if error.errors else error
        return answer_error(HTTPStatus.BAD_REQUEST, part.code, part.detail)
    return None


def answer_error(status: int, code: str, message: str, **more: str) -> HttpResponse:
    """Return an error in the form of django-allauth's; `more` may name the `param` that it is about."""
    return JsonResponse({"status": status, "errors": [{"code": code, "message": message} | more]}, status=status)


def _has_body(request: HttpRequest) -> bool:
    return request.META.get("CONTENT_LENGTH") not in (None, "", "0") or "Transfer-Encoding" in request.headers
