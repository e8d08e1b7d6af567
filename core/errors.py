"""The one family of expected failures. Each has a stable `code`; `core.problems` turns it into problem+json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one value.

    `pointer` is a JSON pointer into the request body (RFC 6901, such as "/subject"), or the name of
    a query parameter; `line` is the line of a CSV file, counted from 1.
    """

    code: str
    detail: str
    pointer: str = ""
    line: int | None = None


class CourantError(Exception):
    """An expected failure.

    `status` is the HTTP status it maps to, `code` a stable machine-readable word, `detail` one
    plain sentence for people, `errors` what is wrong field by field.
    """

    status = 400
    title = "Bad request"

    def __init__(self, code: str, detail: str, *, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)


class BadRequestError(CourantError):
    """The request cannot be read at all (400)."""


class UnauthenticatedError(CourantError):
    """Nobody we know is asking (401)."""

    status = 401
    title = "Not authenticated"


class ForbiddenError(CourantError):
    """The caller is known and may not do this (403)."""

    status = 403
    title = "Not allowed"


class NotFoundError(CourantError):
    """There is no such thing, or it belongs to somebody else (404)."""

    status = 404
    title = "Not found"


class ConflictError(CourantError):
    """The thing is not in a state that allows this (409)."""

    status = 409
    title = "Conflict with the current state"


class GoneError(CourantError):
    """It was there and has expired (410)."""

    status = 410
    title = "No longer available"


class PreconditionFailedError(CourantError):
    """The thing is no longer as the caller has seen it (412)."""

    status = 412
    title = "Changed meanwhile"


class TooLargeError(CourantError):
    """The request is bigger than we take (413)."""

    status = 413
    title = "Too large"


class UnsupportedMediaTypeError(CourantError):
    """The body's type is not the one that this operation takes (415)."""

    status = 415
    title = "Unsupported media type"


class InvalidError(CourantError):
    """The request was understood and a value in it is not acceptable (422)."""

    status = 422
    title = "Invalid value"


class TooManyRequestsError(CourantError):
    """The caller asks more often than it may (429)."""

    status = 429
    title = "Too many requests"


EVERY_KIND: tuple[type[CourantError], ...] = (CourantError, *CourantError.__subclasses__())


def invalid_field(pointer: str, code: str, detail: str) -> InvalidError:
    """Return a 422 about a single field of the request body."""
    return InvalidError(code, detail, errors=[FieldError(code=code, detail=detail, pointer=pointer)])
