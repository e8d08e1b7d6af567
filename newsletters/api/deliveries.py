"""Deliveries: what became of an issue for each reader, and what needs a person."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.addresses import canonical
from core.errors import InvalidError, invalid_field
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, OldestFirstQuery, Page, SearchText, StrictQuery, contract, listed
from newsletters.api.issues import find_issue
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.delivery.message_ids import message_id
from newsletters.models import Delivery

router = Router(tags=["Deliveries"])

State = Literal["queued", "sending", "sent", "bounced", "expired", "suppressed", "cancelled", "held"]


Answer = Literal["true", "false"]


class ReplyOut(BaseModel):
    """The mail relay's last word."""

    phase: str | None = Field(description="Which step it answered: connect, mail, rcpt, data, dot …")
    code: int | None = Field(description="SMTP reply code (RFC 5321).", examples=[250])
    status: str | None = Field(description="Enhanced status code (RFC 3463).", examples=["2.0.0"])
    text: str | None


class DeliveryOut(Output):
    """One issue on its way to one reader."""

    id: str = Field(examples=["dlv_mfrggzdfmztwq2lkobwgk5tfoi"])
    issue_id: str
    subscription_id: str | None = Field(description="Null once the reader is erased.")
    address: str | None = Field(description="Null once the reader is erased.")
    state: State
    reason: str | None = Field(description="Why it is in this state, such as `unsubscribed`.")
    message_id: str | None = Field(description="Its Message-ID, the same in every attempt, as mail logs show it.")
    attempts: int = Field(description="Attempts that count towards the retry schedule.")
    uncertain: bool = Field(description="Whether it may have arrived twice, because a link broke after its last byte.")
    uncertain_outcomes: int = Field(description="Links that broke after its last byte, since it was last resent.")
    kills: int = Field(description="Workers that ended with this mail in flight; 1 when it was resent after some.")
    next_at: datetime | None = Field(description="When the next attempt is due; null when there is none.")
    last_reply: ReplyOut | None
    created_at: datetime
    settled_at: datetime | None

    @classmethod
    def of(cls, row: Delivery) -> DeliveryOut:
        reader = row.subscription
        reply = ReplyOut(phase=row.reply_phase, code=row.reply_code, status=row.reply_status, text=row.reply_text)
        return cls.copy_of(
            row,
            id=row.uid,
            issue_id=row.issue.uid,
            message_id=message_id(row),
            subscription_id=None if reader is None else reader.uid,
            address=None if reader is None else reader.subscriber.address,
            next_at=row.next_at if row.state == "queued" else None,
            last_reply=None if row.reply_phase is None and row.reply_code is None else reply,
        )


class DeliveryPage(Page[DeliveryOut]):
    """A page of deliveries, in the order in which they were made."""


class DeliveryQuery(OldestFirstQuery):
    state: State | None = Field(default=None, description="Only deliveries in this state.")
    uncertain: Answer | None = Field(
        default=None, description="Only those that may have arrived twice, or only others."
    )
    address: SearchText | None = Field(default=None, description="Only the reader with this address.")


class DoubtQuery(ListQuery):
    state: Literal["held"] | None = Field(default=None, description="Only those that wait for a decision.")
    uncertain: Literal["true"] | None = Field(default=None, description="Only those that may have arrived twice.")


@router.get(
    "/issues/{issue_id}/deliveries",
    **contract(Scope.ISSUES_READ, DeliveryPage, *codes.LIST, "not_found", "invalid_address"),
    operation_id="list_deliveries",
    summary="List an issue's deliveries",
)
def list_deliveries(
    request: ApiRequest, issue_id: str, query: Annotated[DeliveryQuery, StrictQuery(...)]
) -> DeliveryPage:
    """In the order in which they were made. Of an issue with `archived_at` only the counts are kept: see `progress`."""
    rows = visible.deliveries(request.auth).filter(issue=find_issue(request, issue_id))
    if query.state:
        rows = rows.filter(state=query.state)
    if query.uncertain:
        rows = rows.filter(uncertain=query.uncertain == "true")
    if query.address:
        rows = rows.filter(subscription__subscriber__address_key=_key_of(query.address))
    return listed(request, rows, query, DeliveryPage, DeliveryOut.of)


@router.get(
    "/deliveries",
    **contract(Scope.ISSUES_READ, DeliveryPage, *codes.LIST, "filter_required"),
    operation_id="list_doubtful_deliveries",
    summary="List what needs a person",
)
def list_doubtful(request: ApiRequest, query: Annotated[DoubtQuery, StrictQuery(...)]) -> DeliveryPage:
    """Of all issues, the newest first. Needs `state=held`, `uncertain=true`, or both (422 `filter_required`)."""
    if query.state is None and query.uncertain is None:
        raise InvalidError("filter_required", "Say state=held or uncertain=true; an issue has a list of its own.")
    rows = visible.deliveries(request.auth)
    if query.state:
        rows = rows.filter(state=query.state)
    return listed(
        request, rows.filter(uncertain=True) if query.uncertain else rows, query, DeliveryPage, DeliveryOut.of
    )


@router.get(
    "/deliveries/{delivery_id}",
    **contract(Scope.ISSUES_READ, DeliveryOut, "not_found"),
    operation_id="get_delivery",
    summary="Get a delivery",
)
def get_delivery(request: ApiRequest, delivery_id: str) -> DeliveryOut:
    """One delivery with the relay's last reply."""
    return DeliveryOut.of(visible.find_delivery(request.auth, delivery_id))


def _key_of(address: str) -> str:
    try:
        return canonical(address).key
    except InvalidError as error:
        # A parameter of the query, not a field of a body.
        raise invalid_field("address", error.code, error.detail) from None
