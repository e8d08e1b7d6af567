"""The API object: its routers in one list, and an OpenAPI document that says what really happens."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from accounts.access import KeyBearer
from config import openapi
from core import problems
from core.strict_json import StrictParser
from newsletters.api import (
    api_requests,
    audit_entries,
    batches,
    decisions,
    deliveries,
    destinations,
    imports,
    issues,
    newsletters,
    senders,
    sending,
    subscribers,
    subscriptions,
)

DESCRIPTION = """\
Publish newsletters and follow every mail to its end.

* **Keys.** `Authorization: Bearer crnt_…`; make one with `manage.py create_api_key`. Each operation names the scope
  it needs (`x-scope`). An id that belongs to somebody else is 404. A key that is limited to some newsletters sees
  these and their readers; what newsletters share (`x-publisher-wide`) is 403 `key_limited`. A key in an address is
  refused (401 `key_in_url`).
* **Limits.** `RateLimit-Policy` and `RateLimit` say how many requests a key may make a second and how many are left;
  what is more is 429 `rate_limited` with `Retry-After`. Requests without a good key count on the caller's address.
* **Writes** take `application/json` in UTF-8. Unknown fields are refused, values are not converted.
* **Errors** are `application/problem+json` (RFC 9457) with a stable `code` and, value by value, `errors`.
  What no operation sees has codes too: 404 `not_found` and 405 `method_not_allowed` for other addresses and methods;
  400 `bad_request`, 414 `address_too_long` and 431 `headers_too_large` for what is no request that can be served.
* **Lists** answer `{"items": […], "next": …}`; pass `next` as `cursor` until it is null.
* **Repeating.** Every POST takes an `Idempotency-Key`; a repetition gets the first answer and has no second effect.
* **Versions.** Single things come with an `ETag`; `If-None-Match` saves the body, `If-Match` a lost change.
* **Times** are RFC 3339 in UTC.
* **People** sign up, log in and manage their accounts through another API: `/account/api/openapi.json`.
"""
ROUTERS = [
    newsletters.router,
    senders.router,
    subscribers.router,
    subscriptions.router,
    batches.router,
    imports.router,
    issues.router,
    sending.router,
    deliveries.router,
    decisions.router,
    destinations.router,
    api_requests.router,
    audit_entries.router,
]


class Renderer(BaseRenderer):
    """JSON with times as RFC 3339 to the microsecond."""

    media_type = "application/json"

    def render(self, _request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return to_json(data)


class CourantAPI(NinjaAPI):
    """Ninja's API whose document shows errors as problem+json and scopes beside the key."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        document = super().get_openapi_schema(**options)
        openapi.complete(document)
        return document


api = CourantAPI(
    title="Courant",
    version="1",
    description=DESCRIPTION,
    # An operation that names no scope is closed to everybody.
    auth=KeyBearer(),
    parser=StrictParser(),
    renderer=Renderer(),
    openapi_extra={
        "externalDocs": {"url": "/account/api/openapi.json", "description": "The API of people's accounts"},
    },
    servers=[{"url": "/", "description": "This installation"}],
    # Without the exemption another method would meet the CSRF check (403) before it is refused (405).
    docs_decorator=lambda view: csrf_exempt(require_safe(view)),
)
problems.install(api)
for _router in ROUTERS:
    api.add_router("", _router)
    for _path in _router.path_operations.values():
        for _operation in _path.operations:
            if isinstance(_operation.auth_param, KeyBearer):
                _operation.auth_param.operation = _operation.operation_id or ""
