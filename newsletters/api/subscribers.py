"""Subscribers: the readers of a publisher, whatever they read."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from ninja import Status
from pydantic import ConfigDict, Field, WithJsonSchema

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import LEFT_OUT, Line, StrictInput
from newsletters.api import codes, visible
from newsletters.api.contract import (
    ListQuery,
    Page,
    SearchText,
    StrictQuery,
    changes_of,
    contract,
    listed,
)
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.api.versions import unchanged
from newsletters.audience.subscribing import erase_subscriber, update_subscriber
from newsletters.models import Subscriber

router = Router(tags=["Subscribers"])

ReaderName = Annotated[Line, Field(max_length=100, description="The reader's name.", examples=["Ada"])]
# Checked by the domain, which names the attribute that is wrong.
Scalar = Annotated[Any, WithJsonSchema({"type": ["string", "number", "boolean", "null"]})]
Attributes = Annotated[
    dict[str, Scalar],
    Field(
        max_length=64,
        description="Values for merge tags such as `{{ subscriber.city }}`: at most 64; names are up to 40 lower-case "
        "letters, digits and underscores; values are text of at most 1,024 characters, numbers, true, false or null.",
        examples=[{"city": "Porto"}],
    ),
]


class SubscriberPatch(StrictInput):
    """What to change; fields that are left out stay as they are. The address never changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada", "attributes": {"city": "Porto"}}]})

    name: ReaderName = Field(default=LEFT_OUT)
    attributes: Attributes = Field(default=LEFT_OUT)


class SubscriberOut(Output):
    """A reader of one publisher."""

    id: str = Field(examples=["sbr_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    address: str = Field(description="In canonical form: ASCII, domain in lower case.", examples=["ada@example.org"])
    name: str
    attributes: dict[str, Scalar]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Subscriber) -> SubscriberOut:
        return cls.copy_of(row, id=row.uid)


class SubscriberPage(Page[SubscriberOut]):
    """A page of subscribers, the newest first."""


class SubscriberQuery(ListQuery):
    search: SearchText | None = Field(default=None, description="Part of the address, in any case.")


def find_subscriber(request: ApiRequest, subscriber_id: str) -> Subscriber:
    """Return the caller's subscriber. Raises NotFoundError."""
    return visible.find(visible.subscribers(request.auth), "sbr", subscriber_id)


@router.get(
    "/subscribers",
    **contract(Scope.SUBSCRIBERS_READ, SubscriberPage, *codes.LIST),
    operation_id="list_subscribers",
    summary="List subscribers",
)
def list_subscribers(request: ApiRequest, query: Annotated[SubscriberQuery, StrictQuery(...)]) -> SubscriberPage:
    """The newest first, over all newsletters."""
    rows = visible.subscribers(request.auth)
    if query.search:
        rows = rows.filter(address_key__contains=query.search.lower())
    return listed(request, rows, query, SubscriberPage, SubscriberOut.of)


@router.get(
    "/subscribers/{subscriber_id}",
    **contract(Scope.SUBSCRIBERS_READ, SubscriberOut, "not_found"),
    operation_id="get_subscriber",
    summary="Get a subscriber",
)
def get_subscriber(request: ApiRequest, subscriber_id: str) -> SubscriberOut:
    """One reader with name and attributes."""
    return SubscriberOut.of(find_subscriber(request, subscriber_id))


@router.patch(
    "/subscribers/{subscriber_id}",
    **contract(
        Scope.SUBSCRIBERS_WRITE,
        SubscriberOut,
        *codes.BODY,
        *codes.READER,
        "not_found",
        "nothing_to_change",
        publisher_wide=True,
    ),
    operation_id="update_subscriber",
    summary="Change a subscriber",
)
def update(request: ApiRequest, subscriber_id: str, body: SubscriberPatch) -> SubscriberOut:
    """`attributes` replaces all attributes. Issues that have started keep the values they started with."""
    with unchanged(request, lambda: find_subscriber(request, subscriber_id), SubscriberOut.of) as subscriber:
        return SubscriberOut.of(update_subscriber(subscriber, **changes_of(body)))


@router.delete(
    "/subscribers/{subscriber_id}",
    **contract(Scope.SUBSCRIBERS_WRITE, None, "not_found", status=204, publisher_wide=True),
    operation_id="delete_subscriber",
    summary="Erase a subscriber",
)
def delete(request: ApiRequest, subscriber_id: str) -> Status[None]:
    """Removes the reader and all subscriptions. Deliveries stay counted, without saying whose they were."""
    with unchanged(request, lambda: find_subscriber(request, subscriber_id), SubscriberOut.of) as subscriber:
        erase_subscriber(subscriber)
    return Status(204, None)
