"""Sender identities: the From addresses of the publisher."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from ninja import Router, Status
from pydantic import Field

from accounts.access import ApiRequest
from accounts.models import Scope
from newsletters.api import visible
from newsletters.api.contract import ListQuery, Page, StrictQuery, contract, listed
from newsletters.api.output import Output
from newsletters.models import SenderIdentity
from newsletters.publishing.senders import is_usable, request_verification

router = Router(tags=["Senders"])


class SenderOut(Output):
    """A From address. It sends once it is verified by the link mailed to it, or by the operator's setting."""

    id: str = Field(examples=["snd_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    address: str = Field(examples=["news@example.org"])
    verified: bool = Field(description="Whether issues may be sent from it.")
    verified_at: datetime | None = Field(description="When the link was opened; null when the domain is allowed.")
    created_at: datetime

    @classmethod
    def of(cls, row: SenderIdentity) -> SenderOut:
        return cls.copy_of(row, id=row.uid, verified=is_usable(row))


class SenderPage(Page[SenderOut]):
    """A page of sender identities, the newest first."""


@router.get(
    "/senders",
    **contract(Scope.NEWSLETTERS_READ, SenderPage, 400, 422),
    operation_id="list_senders",
    summary="List sender identities",
)
def list_senders(request: ApiRequest, query: Annotated[ListQuery, StrictQuery(...)]) -> SenderPage:
    """The newest first. One appears when a newsletter names a new From address."""
    return listed(request, visible.senders(request.auth), query, SenderPage, SenderOut.of)


@router.get(
    "/senders/{sender_id}",
    **contract(Scope.NEWSLETTERS_READ, SenderOut, 404),
    operation_id="get_sender",
    summary="Get a sender identity",
)
def get_sender(request: ApiRequest, sender_id: str) -> SenderOut:
    """One From address and whether it is verified."""
    return SenderOut.of(visible.find(visible.senders(request.auth), "snd", sender_id))


@router.post(
    "/senders/{sender_id}/verification",
    **contract(Scope.NEWSLETTERS_WRITE, SenderOut, 404, status=202),
    operation_id="request_sender_verification",
    summary="Mail the verification link again",
)
def request_sender_verification(request: ApiRequest, sender_id: str) -> Status[SenderOut]:
    """A worker mails a link, valid for 7 days, to the address itself; at most one in 15 minutes."""
    sender = visible.find(visible.senders(request.auth), "snd", sender_id)
    request_verification(sender)
    return Status(202, SenderOut.of(sender))
