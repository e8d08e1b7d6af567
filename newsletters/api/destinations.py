"""Destinations: domains of readers that are closed, limited, or were so lately."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from ninja import Status
from pydantic import BeforeValidator, ConfigDict, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import LEFT_OUT, FilledLine, StrictInput
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, Page, StrictQuery, changes_of, contract, listed
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.api.versions import unchanged
from newsletters.delivery.destinations import CLOSED, OPEN
from newsletters.delivery.window import CAP
from newsletters.models import Destination
from newsletters.publishing.destinations import (
    MOST_CONCURRENCY,
    forget_destination,
    limit_destination,
    update_destination,
)

router = Router(tags=["Destinations"])
LIMIT = ("invalid_domain", "destination_exists")


def _false(value: Any) -> Any:
    """Refuse the 0 that Python takes for false."""
    return value if value is False else None


Concurrency = Annotated[int, Field(ge=1, le=MOST_CONCURRENCY, examples=[2])]
MAX_CONCURRENCY = f"How many mails may be under way to it at once, from all workers together; null for {CAP}."


class DestinationIn(StrictInput):
    """A domain to limit."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"domain": "example.org", "max_concurrency": 2}]})

    domain: Annotated[
        FilledLine,
        Field(max_length=253, description="Of readers' addresses; kept in A-labels and lower case."),
    ]
    max_concurrency: Concurrency | None = Field(description=MAX_CONCURRENCY)


class DestinationPatch(StrictInput):
    """What to change; fields that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"closed": False}]})

    max_concurrency: Concurrency | None = Field(default=LEFT_OUT, description=MAX_CONCURRENCY)
    closed: Annotated[Literal[False], BeforeValidator(_false)] = Field(
        default=LEFT_OUT, description="`false` opens it now. Only refusals close it."
    )


class DestinationOut(Output):
    """A domain to which mail of your account is paced. Other accounts' mail to it is paced apart."""

    id: str = Field(examples=["dst_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    domain: str = Field(description="In A-labels and lower case.", examples=["example.org"])
    max_concurrency: int | None = Field(description=MAX_CONCURRENCY)
    effective_limit: int = Field(description=f"What holds: `max_concurrency`, or {CAP}.")
    window: int | None = Field(
        description="How many mails were last allowed to be under way at once: it grows with each mail the domain "
        "answers and shrinks when it asks to slow down. Followed while the domain is limited and for a day after it "
        "was closed; null before."
    )
    closed: bool = Field(description="Whether it gets no mail now because it kept asking to slow down.")
    closed_until: datetime | None = Field(description="When it opens, for one mail at first; null when it is open.")
    closed_seconds: int = Field(
        description="Length of the latest closure, which the next one doubles; 0 once a mail was accepted after it."
    )
    last_reply: str = Field(
        description="What the relay said when it was last closed, without addresses.", examples=["421 4.7.0 Slow down"]
    )
    last_closed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Destination) -> DestinationOut:
        closed: bool = row.closed  # type: ignore[attr-defined]  # annotated by `visible`
        until = row.closed_until if closed else None
        return cls.copy_of(row, id=row.uid, effective_limit=row.max_concurrency or CAP, closed_until=until)


class DestinationPage(Page[DestinationOut]):
    """A page of destinations, the newest first."""


class DestinationQuery(ListQuery):
    closed: Literal["true", "false"] | None = Field(default=None, description="Only those closed now, or only others.")


def find_destination(request: ApiRequest, destination_id: str) -> Destination:
    """Return the caller's destination. Raises NotFoundError."""
    return visible.find(visible.destinations(request.auth), "dst", destination_id)


@router.get(
    "/destinations",
    **contract(Scope.NEWSLETTERS_READ, DestinationPage, *codes.LIST, publisher_wide=True),
    operation_id="list_destinations",
    summary="List destinations",
)
def list_destinations(request: ApiRequest, query: Annotated[DestinationQuery, StrictQuery(...)]) -> DestinationPage:
    """The newest first. One appears when it is first closed or limited, and goes 30 days after it was last either."""
    rows = visible.destinations(request.auth)
    if query.closed is not None:
        rows = rows.filter(CLOSED if query.closed == "true" else OPEN)
    return listed(request, rows, query, DestinationPage, DestinationOut.of)


@router.post(
    "/destinations",
    **contract(
        Scope.NEWSLETTERS_WRITE,
        DestinationOut,
        *codes.BODY,
        *LIMIT,
        status=201,
        publisher_wide=True,
    ),
    operation_id="create_destination",
    summary="Limit a domain",
)
def create(request: ApiRequest, body: DestinationIn) -> Status[DestinationOut]:
    """Before there is trouble. A domain that is listed already is 409 `destination_exists`: change that one."""
    made = limit_destination(request.auth.publisher, **body.model_dump())
    return Status(201, DestinationOut.of(visible.destinations(request.auth).get(pk=made.pk)))


@router.get(
    "/destinations/{destination_id}",
    **contract(Scope.NEWSLETTERS_READ, DestinationOut, "not_found", publisher_wide=True),
    operation_id="get_destination",
    summary="Get a destination",
)
def get_destination(request: ApiRequest, destination_id: str) -> DestinationOut:
    """One domain, its limit, and whether it is closed."""
    return DestinationOut.of(find_destination(request, destination_id))


@router.patch(
    "/destinations/{destination_id}",
    **contract(
        Scope.NEWSLETTERS_WRITE, DestinationOut, *codes.BODY, "not_found", "nothing_to_change", publisher_wide=True
    ),
    operation_id="update_destination",
    summary="Change a limit, or open a domain now",
)
def update(request: ApiRequest, destination_id: str, body: DestinationPatch) -> DestinationOut:
    """Workers follow within seconds, also in the middle of an issue."""
    with unchanged(request, lambda: find_destination(request, destination_id), DestinationOut.of) as destination:
        update_destination(destination, **changes_of(body))
    return DestinationOut.of(find_destination(request, destination_id))


@router.delete(
    "/destinations/{destination_id}",
    **contract(Scope.NEWSLETTERS_WRITE, None, "not_found", status=204, publisher_wide=True),
    operation_id="delete_destination",
    summary="Forget a destination",
)
def delete(request: ApiRequest, destination_id: str) -> Status[None]:
    """Its limit and its closure end; it is listed again when it is next closed."""
    with unchanged(request, lambda: find_destination(request, destination_id), DestinationOut.of) as destination:
        forget_destination(destination)
    return Status(204, None)
