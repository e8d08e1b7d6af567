"""The audit log: who decided what, and from where."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import StreamingHttpResponse
from pydantic import Field

from accounts.access import ApiRequest
from accounts.models import AuditEntry, Scope
from newsletters.api import codes, visible
from newsletters.api.contract import Page, SearchText, StrictQuery, contract, listed
from newsletters.api.output import Output
from newsletters.api.periods import FILE_ANSWER, ExportQuery, PeriodQuery, export, within
from newsletters.api.router import Router

router = Router(tags=["Audit log"])

Kind = Literal["user", "api_key", "command", "system"]


class AuditEntryOut(Output):
    """One decision and who made it."""

    at: datetime
    actor_kind: Kind
    actor: str = Field(description="The person's address, or the key's id and name.", examples=["editor@example.org"])
    ip_address: str | None = Field(description="Where it came from; null for what has no client.")
    action: str = Field(description="What was done.", examples=["issue.started"])
    object_type: str = Field(description="To what kind of thing.", examples=["issue"])
    object_id: str = Field(description="To which one.", examples=["iss_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    detail: dict[str, Any] = Field(description="What else there is to say of it.", examples=[{"reason": "resend"}])

    @classmethod
    def of(cls, row: AuditEntry) -> AuditEntryOut:
        return cls.copy_of(row)


class AuditEntryPage(Page[AuditEntryOut]):
    """A page of the audit log, the newest first."""


class AuditEntryQuery(PeriodQuery):
    action: SearchText | None = Field(default=None, description="Only this action, such as `issue.started`.")
    object_id: SearchText | None = Field(default=None, description="Only what was done to this object.")


@router.get(
    "/audit-entries",
    **contract(Scope.AUDIT_READ, AuditEntryPage, *codes.LIST, "invalid_time", publisher_wide=True),
    operation_id="list_audit_entries",
    summary="Read the audit log",
)
def list_audit_entries(request: ApiRequest, query: Annotated[AuditEntryQuery, StrictQuery(...)]) -> AuditEntryPage:
    """The newest first. Entries are never changed and stay as long as the publisher does."""
    rows = within(visible.audit_entries(request.auth), query)
    if query.action:
        rows = rows.filter(action=query.action)
    if query.object_id:
        rows = rows.filter(object_id=query.object_id)
    return listed(request, rows, query, AuditEntryPage, AuditEntryOut.of)


@router.get(
    "/audit-entries/export",
    **contract(Scope.AUDIT_READ, None, *codes.QUERY, "invalid_time", publisher_wide=True, responses=FILE_ANSWER),
    operation_id="export_audit_entries",
    summary="Export the audit log",
)
def export_audit_entries(request: ApiRequest, query: Annotated[ExportQuery, StrictQuery(...)]) -> StreamingHttpResponse:
    """All of a period as CSV or as one JSON object a line, the oldest first."""
    rows = visible.audit_entries(request.auth)
    return export(rows, query, AuditEntryOut, AuditEntryOut.of, name="audit-log")
