"""Sender identities: the From addresses of the publisher."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from ninja import Status
from pydantic import ConfigDict, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import LEFT_OUT, StrictInput
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, Page, StrictQuery, changes_of, contract, listed
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.api.versions import unchanged
from newsletters.models import SenderIdentity
from newsletters.publishing.senders import (
    LEAST_RATE,
    MOST_CONNECTIONS,
    MOST_RATE,
    is_usable,
    request_verification,
    update_sender,
)

router = Router(tags=["Senders"])

Rate = Annotated[float, Field(ge=LEAST_RATE, le=MOST_RATE, examples=[14])]
MAX_RATE = "How many mails may begin in a second, from all workers together, from 1/3600 on; null for no limit."
Connections = Annotated[int, Field(ge=1, le=MOST_CONNECTIONS, examples=[20])]
MAX_CONNECTIONS = "How many connections to the relay may be open at once, from all workers together; null for no limit."


class SenderPatch(StrictInput):
    """What to change; fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"max_rate": 14, "max_connections": 20}]})

    max_rate: Rate | None = Field(default=LEFT_OUT, description=MAX_RATE)
    max_connections: Connections | None = Field(default=LEFT_OUT, description=MAX_CONNECTIONS)


class SenderOut(Output):
    """A From address. It sends once it is verified by the link mailed to it, or by the operator's setting."""

    id: str = Field(examples=["snd_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    address: str = Field(examples=["news@example.org"])
    verified: bool = Field(description="Whether issues may be sent from it.")
    verified_at: datetime | None = Field(description="When the link was opened; null when the domain is allowed.")
    max_rate: float | None = Field(description=MAX_RATE)
    max_connections: int | None = Field(description=MAX_CONNECTIONS)
    created_at: datetime

    @classmethod
    def of(cls, row: SenderIdentity) -> SenderOut:
        return cls.copy_of(row, id=row.uid, verified=is_usable(row))


class SenderPage(Page[SenderOut]):
    """A page of sender identities, the newest first."""


def find_sender(request: ApiRequest, sender_id: str) -> SenderIdentity:
    """Return the caller's sender identity. Raises NotFoundError."""
    return visible.find(visible.senders(request.auth), "snd", sender_id)


@router.get(
    "/senders",
    **contract(Scope.NEWSLETTERS_READ, SenderPage, *codes.LIST),
    operation_id="list_senders",
    summary="List sender identities",
)
def list_senders(request: ApiRequest, query: Annotated[ListQuery, StrictQuery(...)]) -> SenderPage:
    """The newest first. One appears when a newsletter names a new From address."""
    return listed(request, visible.senders(request.auth), query, SenderPage, SenderOut.of)


@router.get(
    "/senders/{sender_id}",
    **contract(Scope.NEWSLETTERS_READ, SenderOut, "not_found"),
    operation_id="get_sender",
    summary="Get a sender identity",
)
def get_sender(request: ApiRequest, sender_id: str) -> SenderOut:
    """One From address, whether it is verified, and its limits."""
    return SenderOut.of(find_sender(request, sender_id))


@router.patch(
    "/senders/{sender_id}",
    **contract(Scope.NEWSLETTERS_WRITE, SenderOut, *codes.BODY, "not_found", "nothing_to_change", publisher_wide=True),
    operation_id="update_sender",
    summary="Change a sender's limits",
)
def update(request: ApiRequest, sender_id: str, body: SenderPatch) -> SenderOut:
    """Workers follow within seconds, also in the middle of an issue; a rate within one."""
    with unchanged(request, lambda: find_sender(request, sender_id), SenderOut.of) as sender:
        update_sender(sender, **changes_of(body))
    return SenderOut.of(find_sender(request, sender_id))


@router.post(
    "/senders/{sender_id}/verification",
    **contract(Scope.NEWSLETTERS_WRITE, SenderOut, "not_found", status=202),
    operation_id="request_sender_verification",
    summary="Mail the verification link again",
)
def request_sender_verification(request: ApiRequest, sender_id: str) -> Status[SenderOut]:
    """A worker mails a link, valid for 7 days, to the address itself; at most one in 15 minutes."""
    sender = find_sender(request, sender_id)
    request_verification(sender)
    return Status(202, SenderOut.of(sender))
