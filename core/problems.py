"""Problem details (RFC 9457): every error below /api/ is answered as application/problem+json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json

from core.errors import BadRequestError, CourantError, FieldError, InvalidError, NotFoundError, TooLargeError
from core.strict_json import escape

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
API_PREFIX = "/api/"
# What Django, Ninja and the middleware answer by themselves, in our words.
STOCK = {
    400: ("bad_request", "The request cannot be understood."),
    401: ("not_authenticated", "Send a valid API key as `Authorization: Bearer crnt_…`."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is no such object."),
    405: ("method_not_allowed", "This address does not take that method; the header Allow lists those it takes."),
    413: ("body_too_large", "The body is too large."),
    500: ("internal_error", "Something failed on our side. The header X-Request-Id names this request in the log."),
    503: ("database_unavailable", "The database cannot be reached. Try again in a moment."),
}
# pydantic's words for what is wrong, in ours; others are passed on as they are.
CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "too_short",
    "too_short": "too_short",
    "literal_error": "not_one_of",
    "string_type": "wrong_type",
    "int_type": "wrong_type",
    "bool_type": "wrong_type",
    "dict_type": "wrong_type",
    "list_type": "wrong_type",
    "model_attributes_type": "wrong_type",
    "model_type": "wrong_type",
    "string_pattern_mismatch": "wrong_form",
    "string_unicode": "lone_surrogate",
    "int_parsing": "wrong_type",
    "int_parsing_size": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
}


class FieldProblem(BaseModel):
    """What is wrong with one value."""

    code: str = Field(description="Stable machine-readable word.", examples=["too_long"])
    detail: str = Field(description="One sentence for people.")
    pointer: str = Field(description="JSON pointer into the body (RFC 6901), or the name of a query parameter.")
    line: int | None = Field(default=None, description="Line of a CSV file, counted from 1.")


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `detail` is for people and may change."""

    type: str = Field(examples=["urn:courant:problem:not_found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no such object."])
    code: str = Field(examples=["not_found"])
    errors: list[FieldProblem] = Field(default=[], description="What is wrong, value by value.")


def problem(status: int, code: str, detail: str, *, title: str = "", errors: Iterable[FieldError] = ()) -> HttpResponse:
    """Return the answer for an error."""
    body: dict[str, Any] = {
        "type": f"urn:courant:problem:{code}",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": [_field(error) for error in errors],
    }
    response = HttpResponse(to_json(body), status=status, content_type=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="courant"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = "5"
    return response


def _field(error: FieldError) -> dict[str, Any]:
    shown: dict[str, Any] = {"code": error.code, "detail": error.detail, "pointer": error.pointer}
    return shown if error.line is None else shown | {"line": error.line}


def from_error(error: CourantError) -> HttpResponse:
    """Return the answer for one of our own expected failures."""
    return problem(error.status, error.code, error.detail, title=error.title, errors=error.errors)


def from_status(status: int) -> HttpResponse:
    """Return the answer for an error of which only the status is known."""
    code, detail = STOCK.get(status, ("error", HTTPStatus(status).phrase + "."))
    return problem(status, code, detail)


def install(api: NinjaAPI) -> None:
    """Make the API answer every exception as a problem."""

    def on_expected(_request: HttpRequest, error: CourantError) -> HttpResponse:
        return from_error(error)

    def on_http_error(_request: HttpRequest, error: HttpError) -> HttpResponse:
        # Ninja wraps what the parser raises; ours says more.
        if isinstance(error.__cause__, CourantError):
            return from_error(error.__cause__)
        return from_status(error.status_code)

    def on_invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
        return from_error(_invalid(error.errors))

    def on_missing(_request: HttpRequest, _error: Exception) -> HttpResponse:
        return from_error(NotFoundError("not_found", "There is no such object."))

    def on_too_large(_request: HttpRequest, _error: Exception) -> HttpResponse:
        return from_error(TooLargeError("body_too_large", "The body is larger than 2 MB."))

    def on_hang_up(_request: HttpRequest, _error: Exception) -> HttpResponse:
        return from_error(BadRequestError("body_incomplete", "The body ended before its Content-Length."))

    def on_database(_request: HttpRequest, error: Exception) -> HttpResponse:
        log.error("database_unavailable", error=str(error))
        return from_status(HTTPStatus.SERVICE_UNAVAILABLE)

    def on_anything(_request: HttpRequest, error: Exception) -> HttpResponse:
        log.error("api_failed", exc_info=error)
        return from_status(HTTPStatus.INTERNAL_SERVER_ERROR)

    api.add_exception_handler(CourantError, on_expected)
    api.add_exception_handler(HttpError, on_http_error)
    api.add_exception_handler(ValidationError, on_invalid)
    api.add_exception_handler(Http404, on_missing)
    api.add_exception_handler(RequestDataTooBig, on_too_large)
    api.add_exception_handler(UnreadablePostError, on_hang_up)
    api.add_exception_handler(OperationalError, on_database)
    api.add_exception_handler(InterfaceError, on_database)
    api.add_exception_handler(Exception, on_anything)


def _invalid(errors: Sequence[dict[str, Any]]) -> InvalidError:
    """Return our error for pydantic's list, each entry with a pointer."""
    fields = [
        FieldError(
            code=error.get("ctx", {}).get("code") or CODES.get(error["type"], error["type"]),
            detail=error["msg"].removeprefix("Value error, "),
            pointer=_pointer(error["loc"]),
        )
        for error in errors
    ]
    named = ", ".join(field.pointer or "the body" for field in fields[:5])
    code = fields[0].code if len(fields) == 1 else "invalid_values"
    return InvalidError(code, f"Not acceptable: {named}.", errors=fields)


def _pointer(location: Sequence[str | int]) -> str:
    source, *path = location
    if source != "body":
        return str(path[-1]) if path else str(source)
    # The first step below "body" is the name of the endpoint's own argument.
    return "".join(f"/{escape(str(step)[:60])}" for step in path[1:])


class ProblemMiddleware:
    """Turn error pages below /api/ that no endpoint made (404, 405, 400, 500 …) into problems."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if response.status_code < HTTPStatus.BAD_REQUEST or not request.path_info.startswith(API_PREFIX):
            return response
        if response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
            return response
        answer = from_status(response.status_code)
        if "Allow" in response.headers:
            answer["Allow"] = response.headers["Allow"]
        return answer
