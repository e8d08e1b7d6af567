"""Holds each answer of the API against its document: the status, the code, and the form of the body."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from jsonschema import Draft202012Validator

from config.api import api

DOCUMENT: dict[str, Any] = api.get_openapi_schema(path_prefix="/api/v1/")
_PATHS = {re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): operations for path, operations in DOCUMENT["paths"].items()}


def operation_of(method: str, address: str) -> dict[str, Any] | None:
    """Return what the document says of a request, or None when it has no such operation."""
    path = address.partition("?")[0]
    for pattern, operations in _PATHS.items():
        if pattern.fullmatch(path):
            found: dict[str, Any] | None = operations.get("get" if method == "HEAD" else method.lower())
            return found
    return None


def check(method: str, address: str, answer: Any) -> None:
    """Fail unless the document has this answer of the operation."""
    operation = operation_of(method, address)
    if operation is None:
        return
    status, name = str(answer.status_code), operation["operationId"]
    body = b"a file" if answer.streaming else answer.content
    assert status in operation["responses"], f"{name} does not document {status}: {body!r}"
    if not body:
        return
    content = operation["responses"][status].get("content", {})
    media_type = answer["Content-Type"].partition(";")[0]
    assert media_type in content, f"{name} does not document {media_type} for {status}"
    if answer.streaming or "json" not in media_type:
        return
    shown = json.loads(answer.content)
    wrong = [f"{error.json_path}: {error.message}" for error in _validator(content[media_type]).iter_errors(shown)]
    assert not wrong, f"{name} answered {status} in a form that is not documented: {wrong}"


def _validator(media: dict[str, Any]) -> Draft202012Validator:
    return _validator_of(json.dumps(media["schema"]))


@functools.cache
def _validator_of(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema) | {"components": DOCUMENT["components"]})
