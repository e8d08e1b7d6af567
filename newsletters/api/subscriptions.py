"""Subscriptions: readers in newsletters, and the log of their consent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from ninja import Status
from pydantic import ConfigDict, Field

from accounts.access import ApiRequest
from accounts.models import Scope
from core.text_types import FilledLine, StrictInput
from newsletters.api import codes, visible
from newsletters.api.contract import ListQuery, OldestFirstQuery, Page, SearchText, StrictQuery, contract, listed
from newsletters.api.output import Output
from newsletters.api.router import Router
from newsletters.api.subscribers import Attributes, ReaderName, SubscriberOut
from newsletters.audience.subscribing import enter, unsubscribe
from newsletters.models import ConsentEvent, Subscription

router = Router(tags=["Subscriptions"])

State = Literal["pending", "active", "unsubscribed"]
ENTER = (
    *codes.READER,
    "not_found",
    "invalid_address",
    "invalid_consent_source",
    "reader_unsubscribed",
    "subscription_changed",
)
CONSENT = "Where the reader gave consent, such as `paper form, spring fair`. Needs the scope `subscribers:consent`."


class SubscriptionIn(StrictInput):
    """A reader to add to a newsletter."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"address": "ada@example.org", "name": "Ada", "attributes": {"city": "Porto"}}]}
    )

    address: FilledLine = Field(max_length=254, examples=["ada@example.org"])
    name: ReaderName = ""
    attributes: Attributes = Field(default={})
    consent_source: FilledLine | None = Field(default=None, max_length=200, description=CONSENT)


class SubscriptionOut(Output):
    """A reader's place in a newsletter."""

    id: str = Field(examples=["sub_01kaj4v4a5e8rbm3h2cw6x9d7f"])
    newsletter_id: str
    subscriber: SubscriberOut
    state: State
    changed_at: datetime = Field(description="When it came into this state.")
    created_at: datetime

    @classmethod
    def of(cls, row: Subscription) -> SubscriptionOut:
        return cls.copy_of(
            row, id=row.uid, newsletter_id=row.newsletter.uid, subscriber=SubscriberOut.of(row.subscriber)
        )


class SubscriptionPage(Page[SubscriptionOut]):
    """A page of subscriptions, the newest first."""


class SubscriptionQuery(ListQuery):
    state: State | None = Field(default=None, description="Only subscriptions in this state.")
    search: SearchText | None = Field(default=None, description="Part of the address, in any case.")


class ConsentEventOut(Output):
    """One line of the consent log."""

    state: State = Field(description="What the subscription became.")
    source: str = Field(description="By what: `subscribe`, `confirmation`, `import`, `one_click`, `api` …")
    detail: str = Field(description="Where consent was given, as stated.")
    at: datetime

    @classmethod
    def of(cls, row: ConsentEvent) -> ConsentEventOut:
        return cls.copy_of(row)


class ConsentEventPage(Page[ConsentEventOut]):
    """A page of the consent log, the oldest first."""


@router.post(
    "/newsletters/{newsletter_id}/subscriptions",
    **contract(Scope.SUBSCRIBERS_WRITE, SubscriptionOut, *codes.BODY, *ENTER, status=201, or_status=200),
    operation_id="create_subscription",
    summary="Add a reader",
)
def create(request: ApiRequest, newsletter_id: str, body: SubscriptionIn) -> Status[SubscriptionOut]:
    """Pending until the reader opens the link mailed to the address; active at once with a stated consent source.

    A reader who is there already is answered with 200; one who has left comes back by an own request only
    (409 `reader_unsubscribed` when you vouch for them).
    """
    if body.consent_source is not None:
        request.auth.require(Scope.SUBSCRIBERS_CONSENT)
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    here = visible.subscriptions(request.auth).filter(newsletter=newsletter)
    facts = body.model_dump() | {"consent_source": body.consent_source or "API"}
    made, is_new = enter(newsletter, **facts, confirmed=body.consent_source is not None)
    return Status(201 if is_new else 200, SubscriptionOut.of(here.get(pk=made.pk)))


@router.get(
    "/newsletters/{newsletter_id}/subscriptions",
    **contract(Scope.SUBSCRIBERS_READ, SubscriptionPage, *codes.LIST, "not_found"),
    operation_id="list_subscriptions",
    summary="List a newsletter's subscriptions",
)
def list_subscriptions(
    request: ApiRequest, newsletter_id: str, query: Annotated[SubscriptionQuery, StrictQuery(...)]
) -> SubscriptionPage:
    """The newest first, with the readers."""
    newsletter = visible.find_newsletter(request.auth, newsletter_id)
    rows = visible.subscriptions(request.auth).filter(newsletter=newsletter)
    if query.state:
        rows = rows.filter(state=query.state)
    if query.search:
        rows = rows.filter(subscriber__address_key__contains=query.search.lower())
    return listed(request, rows, query, SubscriptionPage, SubscriptionOut.of)


@router.get(
    "/subscriptions/{subscription_id}",
    **contract(Scope.SUBSCRIBERS_READ, SubscriptionOut, "not_found"),
    operation_id="get_subscription",
    summary="Get a subscription",
)
def get_subscription(request: ApiRequest, subscription_id: str) -> SubscriptionOut:
    """One subscription with its reader."""
    return SubscriptionOut.of(visible.find(visible.subscriptions(request.auth), "sub", subscription_id))


@router.post(
    "/subscriptions/{subscription_id}/unsubscribe",
    **contract(Scope.SUBSCRIBERS_WRITE, SubscriptionOut, "not_found", "subscription_changed"),
    operation_id="unsubscribe",
    summary="Unsubscribe a reader",
)
def end(request: ApiRequest, subscription_id: str) -> SubscriptionOut:
    """Takes effect within the mails already in flight. Repeating it changes nothing."""
    subscription = visible.find(visible.subscriptions(request.auth), "sub", subscription_id)
    unsubscribe(subscription.pk, source="api")
    return SubscriptionOut.of(visible.subscriptions(request.auth).get(pk=subscription.pk))


@router.get(
    "/subscriptions/{subscription_id}/consent",
    **contract(Scope.SUBSCRIBERS_READ, ConsentEventPage, *codes.LIST, "not_found"),
    operation_id="list_consent_events",
    summary="Read the consent log",
)
def list_consent_events(
    request: ApiRequest, subscription_id: str, query: Annotated[OldestFirstQuery, StrictQuery(...)]
) -> ConsentEventPage:
    """Every change of the subscription's state, the oldest first. Lines are never changed."""
    subscription = visible.find(visible.subscriptions(request.auth), "sub", subscription_id)
    rows = ConsentEvent.objects.filter(subscription=subscription)
    return listed(request, rows, query, ConsentEventPage, ConsentEventOut.of)
