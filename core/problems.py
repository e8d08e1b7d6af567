"""Problem details (RFC 9457): every error below /api/ is answered as application/problem+json."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import ObjectDoesNotExist, RequestDataTooBig, SuspiciousOperation
from django.db import IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json

from core.errors import EVERY_KIND, CourantError, FieldError, InvalidError
from core.strict_json import escape
from core.text_types import LEFT_OUT
from core.uploads import discard_rest

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
# Nobody reads more, and a body can have 100,000 unknown fields.
MOST_ERRORS = 50
API_PREFIX = "/api/"
# What Django, Ninja and the middleware answer by themselves, in our words.
STOCK = {
    400: ("bad_request", "The request cannot be understood."),
    401: ("not_authenticated", "Send a valid API key as `Authorization: Bearer crnt_…`."),
    403: ("forbidden", "This is not allowed."),
    404: ("not_found", "There is no such object."),
    405: ("method_not_allowed", "This address does not take that method; the header Allow lists those it takes."),
    409: ("changed_meanwhile", "Somebody else changed this at the same moment. Look at it and try again."),
    413: ("body_too_large", "The body is larger than 2 MB."),
    500: ("internal_error", "Something failed on our side. The header X-Request-Id names this request in the log."),
    503: ("database_unavailable", "The database cannot be reached. Try again in a moment."),
}
TITLES = {kind.status: kind.title for kind in EVERY_KIND}
# pydantic's words for what is wrong, in ours; its sentence stays where ours is empty.
WORDS = {
    "missing": ("required", "This is required."),
    "extra_forbidden": ("unknown_field", "There is no such field."),
    "string_too_long": ("too_long", ""),
    "too_long": ("too_long", ""),
    "string_too_short": ("too_short", ""),
    "too_short": ("too_short", ""),
    "literal_error": ("not_one_of", ""),
    "string_pattern_mismatch": ("wrong_form", ""),
    "string_unicode": ("lone_surrogate", "Half of a surrogate pair is not a character."),
    "string_type": ("wrong_type", "Must be text."),
    "int_type": ("wrong_type", "Must be a whole number."),
    "int_parsing": ("wrong_type", "Must be a whole number."),
    "float_type": ("wrong_type", "Must be a number."),
    "bool_type": ("wrong_type", "Must be true or false."),
    "list_type": ("wrong_type", "Must be a list."),
    "dict_type": ("wrong_type", "Must be an object."),
    "model_type": ("wrong_type", "Must be an object."),
    "model_attributes_type": ("wrong_type", "Must be an object."),
    "int_parsing_size": ("out_of_range", "The number is too large."),
    "greater_than_equal": ("out_of_range", ""),
    "less_than_equal": ("out_of_range", ""),
}
# What our own types raise.
OUR_WORDS = ("control_character", "blank", "invalid_time")


class FieldProblem(BaseModel):
    """What is wrong with one value."""

    code: str = Field(description="Stable machine-readable word.", examples=["too_long"])
    detail: str = Field(description="One sentence for people.", examples=["Text should have at most 100 characters."])
    pointer: str = Field(
        description="JSON pointer into the body (RFC 6901), or the name of a query parameter.", examples=["/name"]
    )
    line: int = Field(
        default=LEFT_OUT, description="Line of a CSV file, counted from 1; only where there is one.", examples=[7]
    )


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `detail` is for people and may change."""

    type: str = Field(description="`urn:courant:problem:` and the code.", examples=["urn:courant:problem:not_found"])
    title: str = Field(description="What all errors of this status are called.", examples=["Not found"])
    status: int = Field(description="The HTTP status.", examples=[404])
    detail: str = Field(description="One sentence for people.", examples=["There is no such object."])
    code: str = Field(description="Stable machine-readable word.", examples=["not_found"])
    errors: list[FieldProblem] = Field(description="What is wrong, value by value; empty when no value is named.")


def problem(status: int, code: str, detail: str, *, errors: Iterable[FieldError] = ()) -> HttpResponse:
    """Return the answer for an error."""
    body: dict[str, Any] = {
        "type": f"urn:courant:problem:{code}",
        "title": title_of(status),
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


def title_of(status: int) -> str:
    """Return the title that all errors of a status have."""
    return TITLES.get(status, HTTPStatus(status).phrase.capitalize())


def _field(error: FieldError) -> dict[str, Any]:
    shown: dict[str, Any] = {"code": error.code, "detail": error.detail, "pointer": error.pointer}
    return shown if error.line is None else shown | {"line": error.line}


def from_error(error: CourantError) -> HttpResponse:
    """Return the answer for one of our own expected failures."""
    return problem(error.status, error.code, error.detail, errors=error.errors)


def from_status(status: int) -> HttpResponse:
    """Return the answer for an error of which only the status is known."""
    code, detail = STOCK.get(status, ("error", HTTPStatus(status).phrase + "."))
    return problem(status, code, detail)


def install(api: NinjaAPI) -> None:
    """Make the API answer every exception as a problem."""

    def answer(_request: HttpRequest, error: Any) -> HttpResponse:
        return from_exception(error)

    # Ninja brings handlers of its own for these four; the most specific one is called.
    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, answer)


def from_exception(error: Exception) -> HttpResponse:
    """Return the answer for whatever an endpoint, the parser or Ninja raised."""
    # Ninja wraps what the parser raises; the cause says more.
    cause = error.__cause__ if isinstance(error, HttpError) else error
    if isinstance(cause, CourantError):
        return from_error(cause)
    if isinstance(error, ValidationError):
        return from_error(_invalid(error.errors))
    if isinstance(error, UnreadablePostError):
        return problem(400, "body_incomplete", "The body ended before its Content-Length.")
    return from_status(_status_of(error))


def _status_of(error: Exception) -> int:
    if isinstance(error, HttpError):
        return error.status_code
    # A row may be deleted by somebody else between finding and showing it.
    if isinstance(error, Http404 | ObjectDoesNotExist):
        return 404
    if isinstance(error, RequestDataTooBig):
        return 413
    if isinstance(error, SuspiciousOperation):
        return 400
    if isinstance(error, OperationalError | InterfaceError):
        log.error("database_unavailable", error=str(error))
        return 503
    log.error("api_failed", exc_info=error)
    # What a constraint refuses that the request itself had found in order was changed by another one.
    return 409 if isinstance(error, IntegrityError) else 500


def _invalid(errors: Sequence[dict[str, Any]]) -> InvalidError:
    """Return our error for pydantic's list, each entry with a pointer."""
    fields = []
    for error in errors[:MOST_ERRORS]:
        # Words of our own types stay; of pydantic's there are many more than these.
        kind = error["type"]
        code, detail = WORDS.get(kind, (kind if kind in OUR_WORDS else "invalid_value", ""))
        # Of a text that validators have seen pydantic says "Value … items".
        said = error["msg"].replace("Value should", "Text should").replace("items after validation", "characters")
        fields.append(FieldError(code=code, detail=detail or f"{said}.", pointer=_pointer(error["loc"])))
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
    """Turn error pages below /api/ that no endpoint made (404, 405, 400, 500 …) into problems.

    Also refuses bodies of undeclared length (chunked), which Django would silently read as empty.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(API_PREFIX):
            return self._get_response(request)
        if "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH"):
            return problem(400, "length_required", "Send the body with a Content-Length.")
        response = self._get_response(request)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        # For callers with a key only (403 is one that may not): others could hold threads with slow bodies.
        if response.status_code == HTTPStatus.FORBIDDEN or getattr(request, "auth", None) is not None:
            discard_rest(request)
        if response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
            return response
        # Changed in place, so that its other headers (Allow, those of the security middleware) stay.
        response.content = from_status(response.status_code).content
        response["Content-Type"] = MEDIA_TYPE
        response["Content-Length"] = str(len(response.content))
        return response
