"""Which version of a thing a caller has seen (RFC 9110, 8.8.3 and 13): ETag, If-None-Match and If-Match.

An ETag is the digest of the answer itself, so it changes with everything that a caller can see, also with what
another row contributes, and two equal answers have the same one.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Model
from django.http import HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags
from pydantic import BaseModel
from pydantic_core import to_json

from accounts.access import ApiRequest
from core.errors import PreconditionFailedError

M = TypeVar("M", bound=Model)
ETAG_BYTES = 18
_EXAMPLE = '"pZGm1Av0IEBKARczz7exkNYs"'
_TAG: dict[str, Any] = {"in": "header", "required": False, "schema": {"type": "string"}, "example": _EXAMPLE}
IF_NONE_MATCH = _TAG | {
    "name": "If-None-Match",
    "description": "`ETag` of an earlier answer: 304 without a body while nothing has changed.",
}
IF_MATCH = _TAG | {
    "name": "If-Match",
    "description": "`ETag` of the answer that you have seen: 412 `precondition_failed` when it has changed since, so "
    "that nobody's change is lost. Without it the change is made whatever happened.",
}


def etag_of(body: bytes) -> str:
    """Return the strong validator of an answer, in quotes."""
    return f'"{base64.urlsafe_b64encode(hashlib.sha256(body).digest()[:ETAG_BYTES]).decode()}"'


def wrap(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return an endpoint that answers as `view`, which returns one thing, with its ETag; 304 if the caller has it."""

    @functools.wraps(view)
    def run(request: ApiRequest, **values: Any) -> Any:
        result = view(request, **values)
        # Something else than one thing: an export, an empty answer.
        if not isinstance(result, BaseModel):
            return result
        body = to_json(result)
        etag = etag_of(body)
        if request.method == "GET" and _names(request.headers.get("If-None-Match", ""), etag):
            return HttpResponseNotModified(headers={"ETag": etag})
        return HttpResponse(body, content_type="application/json; charset=utf-8", headers={"ETag": etag})

    return run


@contextmanager
def unchanged(
    request: ApiRequest,
    find: Callable[[], M],
    present: Callable[[M], BaseModel],
    *,
    lock: Callable[[M], object] | None = None,
) -> Iterator[M]:
    """Give the row to change; with `If-Match` locked to the end, and only if it is shown as the caller has seen it.

    `lock` takes the locks that the change will take, where those are more than the row's own. Raises
    PreconditionFailedError, and what `find` raises.
    """
    if "If-Match" not in request.headers:
        yield find()
        return
    with transaction.atomic():
        (lock or _lock)(find())
        row = find()
        if not _names(request.headers["If-Match"], etag_of(to_json(present(row)))):
            raise PreconditionFailedError("precondition_failed", "It has changed since you looked. Look again.")
        yield row


def _lock(row: Model) -> None:
    type(row)._base_manager.select_for_update(no_key=True).filter(pk=row.pk).values_list("pk").first()  # noqa: SLF001  # Django's documented manager that filters nothing


def _names(header: str, etag: str) -> bool:
    # A weak tag (W/"…") is none of ours, so that comparing strongly is right for both headers.
    return header.strip() == "*" or etag in parse_etags(header)
