"""Logging: one structured line an event, JSON in production, with no addresses, keys or tokens."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

import structlog
from django.http import HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,255}")
_SECRET = re.compile(
    r"crnt_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{20,60}"
    # A link that was mangled on its way still holds its token, so all that follows goes: those of newsletters, of
    # invitations (which have pages of their own), those that verify an address and reset a password.
    r"|(?<=/[cuv]/)[^/\s\"']+|(?<=/invitations/)(?!inv_|new\b)[^/\s\"']+"
    r"|(?<=/confirm-email/)[^/\s\"']+|(?<=/reset/key/)[^/\s\"']+"
    # The same tokens elsewhere, such as in a parameter.
    r"|(?<=[/=])[A-Za-z0-9_-]{43}(?![\w-])"
    r"|(?<![\w-])[\w-]{1,99}:[A-Za-z0-9]{5,8}:[\w-]{43}(?![\w-])"
    r"|(?<![\w-])[0-9a-z]{1,13}-[0-9a-z]{5,8}-[0-9a-f]{32}(?![\w-])"
)
# Browsers and proxies encode an address anew each time that it becomes a part of another; nobody does so oftener.
MOST_ENCODINGS = 10
_REDACTED_KEYS = {"authorization", "password", "secret", "token", "cookie", "address", "email"}


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove addresses, API keys and signed tokens from every text of an event."""
    for key, value in event.items():
        if key in _REDACTED_KEYS:
            event[key] = "[redacted]"
        elif isinstance(value, str):
            event[key] = _plain(value)
    return event


def _plain(text: str) -> str:
    """Return the text without secrets; decoded where they are only seen then (`next=%2Finvitations%2F…`)."""
    decoded = text
    for _ in range(MOST_ENCODINGS):
        if "%" not in decoded or (again := unquote(decoded)) == decoded:
            break
        decoded = again
    else:
        return "[redacted]"
    if decoded is not text and (_SECRET.search(decoded) or _ADDRESS.search(decoded)):
        text = decoded
    return _SECRET.sub("[secret]", _ADDRESS.sub("[address]", text))


def configure(options: dict[str, Any]) -> None:
    """Set up structlog and the standard logging to write through one handler.

    `options` has `level` (a name such as INFO) and `debug` (coloured lines instead of JSON).
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if options["debug"]
        else structlog.processors.JSONRenderer()
    )
    # Tracebacks become text before redaction, and never with local variables (they hold passwords).
    finish: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    finish += [structlog.processors.format_exc_info, redact, renderer]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=finish))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(options["level"])
    # pika reports every lost connection as an error with a traceback; our own lines say it once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    logging.getLogger("django.server").setLevel(logging.WARNING)
    # Our own line tells of every answer; Django's would tell of refusals again, some with a traceback.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    logging.getLogger("django.security").setLevel(logging.CRITICAL)


class RequestLogMiddleware:
    """Write one line for each request and give it an id (`X-Request-Id` in the answer)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.monotonic()
        structlog.contextvars.clear_contextvars()
        request_id = uuid.uuid4().hex
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self._get_response(request)
        route = request.resolver_match.route if request.resolver_match else "unmatched"
        log.info(
            "request",
            method=request.method,
            route=route,
            status=response.status_code,
            milliseconds=round((time.monotonic() - started) * 1000, 1),
        )
        response["X-Request-Id"] = request_id
        return response
