"""What a caller can see: every query of the API starts here, so another publisher's rows do not exist for it."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from accounts.access import Principal
from core.errors import NotFoundError
from core.public_ids import decode
from core.tokens import InvalidTokenError, open_sealed_id
from newsletters.delivery.destinations import CLOSED
from newsletters.models import (
    Delivery,
    Destination,
    Import,
    Issue,
    Newsletter,
    SenderIdentity,
    Subscriber,
    Subscription,
)

M = TypeVar("M", bound=Model)


def newsletters(principal: Principal) -> QuerySet[Newsletter]:
    return Newsletter.objects.alive().filter(publisher=principal.publisher).select_related("sender", "publisher")


def senders(principal: Principal) -> QuerySet[SenderIdentity]:
    return SenderIdentity.objects.filter(publisher=principal.publisher)


def subscribers(principal: Principal) -> QuerySet[Subscriber]:
    return Subscriber.objects.filter(publisher=principal.publisher)


def subscriptions(principal: Principal) -> QuerySet[Subscription]:
    mine = Subscription.objects.filter(newsletter__publisher=principal.publisher, newsletter__deleted_at__isnull=True)
    return mine.select_related("subscriber", "newsletter")


def imports(principal: Principal) -> QuerySet[Import]:
    mine = Import.objects.filter(newsletter__publisher=principal.publisher, newsletter__deleted_at__isnull=True)
    return mine.select_related("newsletter")


def issues(principal: Principal) -> QuerySet[Issue]:
    mine = Issue.objects.filter(newsletter__publisher=principal.publisher, newsletter__deleted_at__isnull=True)
    return mine.select_related("newsletter__publisher", "newsletter__sender")


def deliveries(principal: Principal) -> QuerySet[Delivery]:
    # Of an archived issue all rows are gone at once, though their removal takes its time.
    mine = Delivery.objects.filter(
        issue__newsletter__publisher=principal.publisher,
        issue__newsletter__deleted_at__isnull=True,
        issue__archived_at__isnull=True,
    )
    return mine.select_related("issue", "subscription__subscriber")


def destinations(principal: Principal) -> QuerySet[Destination]:
    return Destination.objects.filter(publisher=principal.publisher).annotate(closed=CLOSED)


def find(rows: QuerySet[M], prefix: str, public_id: str) -> M:
    """Return the row with a public id such as "iss_01k…". Raises NotFoundError, also for malformed ids."""
    row = rows.filter(public_id=decode(prefix, public_id)).first()
    if row is None:
        raise NotFoundError("not_found", "There is no such object.")
    return row


def find_delivery(principal: Principal, public_id: str) -> Delivery:
    """Return the delivery with a public id such as "dlv_mfrgg…". Raises NotFoundError."""
    head, _, sealed = public_id.partition("_")
    try:
        number = open_sealed_id("delivery", sealed if head == "dlv" else "")
    except InvalidTokenError:
        number = 0
    row = deliveries(principal).filter(pk=number).first()
    if row is None:
        raise NotFoundError("not_found", "There is no such object.")
    return row
