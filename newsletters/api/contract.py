"""What all operations share: their declared answers, strict query parameters and pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import unquote_to_bytes

from django.db.models import Model, QuerySet
from django.http import HttpRequest, QueryDict
from ninja import NinjaAPI
from ninja.params.models import Query, QueryModel
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from pydantic_core import PydanticKnownError

from accounts.access import ApiRequest, KeyBearer
from accounts.models import Scope
from core.errors import BadRequestError, InvalidError, invalid_field
from core.pagination import DEFAULT_LIMIT, MAX_LIMIT, cut_page
from core.text_types import one_line
from newsletters.api.codes import STATUS_OF

M = TypeVar("M", bound=Model)
T = TypeVar("T", bound=BaseModel)


def contract(
    scope: Scope,
    answer: type[BaseModel] | None,
    *errors: str,
    status: int = 200,
    or_status: int | None = None,
    publisher_wide: bool = False,
    **extra: Any,
) -> dict[str, Any]:
    """Return the arguments that declare an operation: its scope, its answer and its errors.

    `errors` are codes of `newsletters.api.codes` besides those of every operation; an unknown one is a KeyError.
    `or_status` is a second status with the same answer. `publisher_wide` refuses keys that are limited to newsletters.
    `extra` goes into the OpenAPI document.
    """
    declared: dict[int, Any] = {one: answer for one in (status, or_status) if one is not None}
    codes = sorted({*errors, *(["key_limited"] if publisher_wide else [])}, key=lambda code: (STATUS_OF[code], code))
    told = {"x-scope": scope.value, "x-publisher-wide": publisher_wide, "x-codes": codes}
    auth = KeyBearer(scope, publisher_wide=publisher_wide)
    return {"auth": auth, "response": declared, "openapi_extra": {**told, **extra}}


class StrictQueryModel(QueryModel):
    """Query parameters of one operation; unknown and repeated ones are refused instead of ignored."""

    @classmethod
    def get_request_data(
        cls,
        request: HttpRequest,
        api: NinjaAPI,
        path_params: dict[str, Any],  # noqa: ARG003  # Ninja's signature
    ) -> dict[str, Any] | None:
        known: dict[str, Any] = getattr(cls, "__ninja_flatten_map__", {})
        # Not request.GET, which is decoded as the body's charset says.
        query = QueryDict(_query_string(request), encoding="utf-8")
        for name in query:
            shown = name[:60].encode("utf-8", "replace").decode()
            if name not in known:
                raise invalid_field(shown, "unknown_parameter", f"Known parameters: {', '.join(sorted(known))}.")
            if len(query.getlist(name)) > 1:
                raise invalid_field(shown, "repeated_parameter", "A parameter may be given once.")
        return api.parser.parse_querydict(query, [], request)


def _query_string(request: HttpRequest) -> str:
    # WSGI hands over each byte as one character; QueryDict would put U+FFFD for what is not UTF-8.
    raw = request.META.get("QUERY_STRING", "").encode("latin-1")
    try:
        unquote_to_bytes(raw).decode("utf-8")
        return str(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRequestError("invalid_query", "The query string is not UTF-8.") from error


class StrictQuery(Query):  # type: ignore[misc]  # Ninja leaves its base untyped
    _model = StrictQueryModel

    @classmethod
    def _param_source(cls) -> str:
        return "query"


def _plain_number(text: Any) -> Any:
    """Refuse what pydantic would take for a number: " 5", "5.0", "1_0"."""
    if isinstance(text, str) and not re.fullmatch(r"-?[0-9]+", text, re.ASCII):
        raise PydanticKnownError("int_parsing")
    return text


PageLimit = Annotated[int, BeforeValidator(_plain_number)]
SearchText = Annotated[str, Field(min_length=1, max_length=254), AfterValidator(one_line)]


ListOrder = Literal["newest", "oldest"]
ORDER = "Which rows come first. A cursor belongs to the order of its list."


class ListQuery(BaseModel):
    """Parameters of every list."""

    limit: PageLimit = Field(default=DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Rows in a page.")
    cursor: str | None = Field(default=None, description="`next` of the page before; omit it for the first page.")
    order: ListOrder = Field(default="newest", description=ORDER)


class OldestFirstQuery(ListQuery):
    """Parameters of a list that is read from its beginning."""

    order: ListOrder = Field(default="oldest", description=ORDER)


class Page(BaseModel, Generic[T]):
    """One page of a list: its rows, and the cursor of the next page or null at the end."""

    items: list[T]
    next: str | None = Field(description="Pass it as `cursor`; null when this is the last page.")


P = TypeVar("P", bound=Page[Any])


def listed(
    request: ApiRequest,
    rows: QuerySet[M],
    query: ListQuery,
    page: type[P],
    present: Callable[[M], BaseModel],
) -> P:
    """Return one page of `rows`. The cursor is bound to the caller's publisher, the address, filters and order."""
    filters = query.model_dump_json(exclude={"limit", "cursor"})
    found, following = cut_page(
        rows,
        binding=f"{request.auth.publisher.pk} {request.path} {filters}",
        cursor=query.cursor,
        limit=query.limit,
        newest_first=query.order == "newest",
    )
    return page(items=[present(row) for row in found], next=following)


def changes_of(body: BaseModel) -> dict[str, Any]:
    """Return the fields that a PATCH names. Raises InvalidError when it names none."""
    changes = body.model_dump(exclude_unset=True)
    if not changes:
        raise InvalidError("nothing_to_change", "Name at least one field to change.")
    return changes
