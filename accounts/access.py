"""Who asks through the API and what they may do. Denied is the default: an operation names its scope."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest
from ninja.security import HttpBearer

from accounts.keys import recognise, refusal
from accounts.models import ApiKey, Publisher, Scope
from accounts.rate_limits import charge_key
from accounts.request_log import Caller, remember_caller
from core.errors import ForbiddenError, UnauthenticatedError

_SECRET = re.compile(rb"crnt_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True)
class Principal:
    """The caller: the publisher whose things it sees, what it may do, and the key that it came with."""

    publisher: Publisher
    scopes: frozenset[str]
    key: ApiKey

    def may(self, scope: Scope) -> bool:
        return scope.value in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise ForbiddenError `scope_missing` unless the key has this scope."""
        if not self.may(scope):
            raise ForbiddenError("scope_missing", f"This key lacks the scope {scope.value}.")

    def require_publisher(self) -> None:
        """Raise ForbiddenError `key_limited` when the key is for chosen newsletters only."""
        if self.key.limited:
            raise ForbiddenError("key_limited", "This concerns more than the newsletters that this key is limited to.")


class ApiRequest(HttpRequest):
    """A request that has passed `KeyBearer`."""

    auth: Principal


class KeyBearer(HttpBearer):
    """`Authorization: Bearer crnt_…`, and the scope that one operation needs.

    Without a scope it lets nobody in, so an operation that names none is closed. `publisher_wide` is an operation on
    what newsletters share: keys limited to some of them are refused.
    """

    openapi_bearerFormat = "crnt_<8 characters>_<43 characters>"  # noqa: N815  # OpenAPI's own spelling
    openapi_description = "An API key. Each operation names the scope it needs (`x-scope`)."

    def __init__(self, scope: Scope | None = None, *, publisher_wide: bool = False) -> None:
        super().__init__()
        self.scope = scope
        self.publisher_wide = publisher_wide
        # What the API calls the operation, for the log.
        self.operation = ""

    def __call__(self, request: HttpRequest) -> Principal:
        _refuse_key_in_url(request)
        principal: Principal | None = super().__call__(request)
        if principal is None:
            raise refusal()
        return principal

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        key = recognise(token)
        remember_caller(request, Caller(key, self.operation))
        charge_key(request, key)
        principal = Principal(publisher=key.publisher, scopes=frozenset(key.scopes), key=key)
        if self.scope is None:
            raise ForbiddenError("closed", "No key may use this operation.")
        principal.require(self.scope)
        if self.publisher_wide:
            principal.require_publisher()
        return principal


def _refuse_key_in_url(request: HttpRequest) -> None:
    """Refuse a request with a key in its address, also beside a valid one in the header (ASVS 5.0, 14.2.1)."""
    address = f"{request.path} {request.META.get('QUERY_STRING', '')}"
    if _SECRET.search(unquote_to_bytes(address)):
        raise UnauthenticatedError(
            "key_in_url",
            "Addresses end up in logs. Revoke this key, and send a new one as `Authorization: Bearer crnt_…`.",
        )
