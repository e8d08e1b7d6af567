"""Answering a POST once for each `Idempotency-Key`: what the router does with every operation that creates or moves."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from ninja import Status
from pydantic_core import to_json

from accounts.access import ApiRequest
from core.idempotency import HEADER, MAX_KEY_LENGTH, Answer, check_key, fingerprint, run_once
from core.uploads import whole_body

REPLAYED = "Idempotency-Replayed"
# What an answer says outside of its body; everything else belongs to the single response.
KEPT_HEADERS = ("Location",)
OFFERED: dict[str, Any] = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH},
    "description": "A fresh random value for each intent, such as a UUID. A retry with the same value and body gets "
    "the stored answer (header `Idempotency-Replayed: true`) for 48 hours; with another body it is refused (422).",
    "example": "0b6f3b0e-6a0c-4a55-9d52-5a6d8f0f7a11",
}
IDEMPOTENCY_HEADER = OFFERED | {"required": True}


def answers_once_itself(view: Callable[..., Any]) -> Callable[..., Any]:
    """Mark an endpoint that reads its body before the transaction begins and calls `once` then."""
    view.answers_once_itself = True  # type: ignore[attr-defined]  # a mark on a function
    return view


def wrap(view: Callable[..., Any], *, required: bool) -> Callable[..., Any]:
    """Return an endpoint that runs `view` once for each key; without a key as often as asked, unless `required`."""
    if hasattr(view, "answers_once_itself"):
        return view

    @functools.wraps(view)
    def run(request: ApiRequest, **values: Any) -> Any:
        if required:
            check_key(request.headers.get(HEADER))
        digest = hashlib.sha256(whole_body(request)).digest()
        return once(request, digest, lambda: view(request, **values), response=values.get("response"))

    return run


def once(
    request: ApiRequest, body_digest: bytes, effect: Callable[[], Any], *, response: HttpResponse | None = None
) -> Any:
    """Return what `effect` returns, kept with it in one transaction for the `Idempotency-Key` of the calling key.

    `body_digest` is the body's SHA-256. `response` is Ninja's own, on which `effect` may set headers. Without a
    key it just happens.
    """
    if HEADER not in request.headers:
        return effect()
    key = check_key(request.headers[HEADER])
    digest = fingerprint(f"{request.method} {request.get_full_path()}", body_digest)
    return _shown(run_once(request.auth.key.uid, key, digest, lambda: _kept(effect(), response)))


def _kept(result: Any, response: HttpResponse | None) -> Answer:
    status = result.status_code if isinstance(result, Status) else 200
    value = result.value if isinstance(result, Status) else result
    headers = {name: response[name] for name in KEPT_HEADERS if response is not None and response.has_header(name)}
    return Answer(status=status, body=to_json(value), headers=headers)


def _shown(answer: Answer) -> HttpResponse:
    response = HttpResponse(
        answer.body, status=answer.status, content_type="application/json; charset=utf-8", headers=dict(answer.headers)
    )
    if answer.replayed:
        response[REPLAYED] = "true"
    return response
