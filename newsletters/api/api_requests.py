"""The log of requests that came with one of the publisher's keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.http import StreamingHttpResponse
from pydantic import Field

from accounts.access import ApiRequest
from accounts.models import LoggedRequest, Scope
from newsletters.api import codes, visible
from newsletters.api.contract import Page, StrictQuery, contract, listed
from newsletters.api.output import Output
from newsletters.api.periods import FILE_ANSWER, ExportQuery, PeriodQuery, export, within
from newsletters.api.router import Router

router = Router(tags=["API requests"])

KeyId = Annotated[str, Field(max_length=40)]


class ApiRequestOut(Output):
    """One request and its answer."""

    at: datetime = Field(description="When it was answered.")
    request_id: str = Field(
        description="The answer's `X-Request-Id`, which names it in the server's log too.",
        examples=["8d0f3c8e6c0f4b7fa6e6a4d3a1f5c9b2"],
    )
    key_id: str = Field(examples=["key_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    key_name: str = Field(examples=["Laptop"])
    method: str = Field(description="HTTP method; HEAD is asked as GET.", examples=["POST"])
    operation: str = Field(description="The operation's `operationId`.", examples=["send_issue"])
    status: int = Field(description="HTTP status of the answer.", examples=[202])
    code: str = Field(description="The error's code; empty for success.", examples=[""])
    milliseconds: float = Field(description="How long the answer took here.", examples=[12.4])

    @classmethod
    def of(cls, row: LoggedRequest) -> ApiRequestOut:
        return cls.copy_of(row, key_id=row.api_key.uid, key_name=row.api_key.name)


class ApiRequestPage(Page[ApiRequestOut]):
    """A page of requests, the newest first."""


class ApiRequestQuery(PeriodQuery):
    key_id: KeyId | None = Field(default=None, description="Only those with this key.")


@router.get(
    "/api-requests",
    **contract(Scope.REQUESTS_READ, ApiRequestPage, *codes.LIST, "invalid_time", "not_found", publisher_wide=True),
    operation_id="list_api_requests",
    summary="List API requests",
)
def list_api_requests(request: ApiRequest, query: Annotated[ApiRequestQuery, StrictQuery(...)]) -> ApiRequestPage:
    """The newest first: every request that came with a good key, refused ones too, kept for 30 days.

    One shows about a second after its answer. What a process had not written when it was killed is missing.
    """
    rows = within(visible.logged_requests(request.auth), query)
    if query.key_id is not None:
        rows = rows.filter(api_key=visible.find(visible.api_keys(request.auth), "key", query.key_id))
    return listed(request, rows, query, ApiRequestPage, ApiRequestOut.of)


@router.get(
    "/api-requests/export",
    **contract(Scope.REQUESTS_READ, None, *codes.QUERY, "invalid_time", publisher_wide=True, responses=FILE_ANSWER),
    operation_id="export_api_requests",
    summary="Export API requests",
)
def export_api_requests(request: ApiRequest, query: Annotated[ExportQuery, StrictQuery(...)]) -> StreamingHttpResponse:
    """All of a period as CSV or as one JSON object a line, the oldest first."""
    rows = visible.logged_requests(request.auth)
    return export(rows, query, ApiRequestOut, ApiRequestOut.of, name="api-requests")
