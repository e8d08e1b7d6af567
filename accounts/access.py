"""Who asks through the API and what they may do. Denied is the default: an operation names its scope."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from ninja.security import HttpBearer

from accounts.keys import recognise, refusal
from accounts.models import ApiKey, Publisher, Scope
from core.errors import ForbiddenError


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


class ApiRequest(HttpRequest):
    """A request that has passed `KeyBearer`."""

    auth: Principal


class KeyBearer(HttpBearer):
    """`Authorization: Bearer crnt_…`, and the scope that one operation needs.

    Without a scope it lets nobody in, so an operation that names none is closed.
    """

    openapi_bearerFormat = "crnt_<8 characters>_<43 characters>"  # noqa: N815  # OpenAPI's own spelling
    openapi_description = "An API key. Each operation names the scope it needs (`x-scope`)."

    def __init__(self, scope: Scope | None = None) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Principal:
        principal: Principal | None = super().__call__(request)
        if principal is None:
            raise refusal()
        return principal

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        key = recognise(token)
        principal = Principal(publisher=key.publisher, scopes=frozenset(key.scopes), key=key)
        if self.scope is None:
            raise ForbiddenError("closed", "No key may use this operation.")
        principal.require(self.scope)
        return principal
