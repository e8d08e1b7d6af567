"""What a caller can see: every query of the API starts here, so another publisher's rows do not exist for it.

Nor do those of newsletters that the caller's key is not for, and what such a key sees of shared things is what its
newsletters use.
"""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from accounts.access import Principal
from accounts.models import ApiKey, AuditEntry, LoggedRequest
from core.errors import NotFoundError
from core.public_ids import decode
from core.tokens import sealed_number
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


def _within_limits(principal: Principal, newsletter: str = "") -> Q:
    """Return what keeps rows to the key's newsletters; `newsletter` leads there, such as "issue__newsletter__"."""
    return Q(**{f"{newsletter}key_limits__api_key": principal.key}) if principal.key.limited else Q()


def newsletters(principal: Principal) -> QuerySet[Newsletter]:
    mine = Newsletter.objects.alive().filter(_within_limits(principal), publisher=principal.publisher)
    return mine.select_related("sender", "publisher")


def senders(principal: Principal) -> QuerySet[SenderIdentity]:
    mine = SenderIdentity.objects.filter(publisher=principal.publisher)
    return mine.filter(pk__in=newsletters(principal).values("sender")) if principal.key.limited else mine


def subscribers(principal: Principal) -> QuerySet[Subscriber]:
    mine = Subscriber.objects.filter(publisher=principal.publisher)
    here = subscriptions(principal).filter(subscriber=OuterRef("pk"))
    return mine.filter(Exists(here)) if principal.key.limited else mine


def subscriptions(principal: Principal) -> QuerySet[Subscription]:
    mine = Subscription.objects.filter(
        _within_limits(principal, "newsletter__"),
        newsletter__publisher=principal.publisher,
        newsletter__deleted_at__isnull=True,
    )
    return mine.select_related("subscriber", "newsletter")


def imports(principal: Principal) -> QuerySet[Import]:
    mine = Import.objects.filter(
        _within_limits(principal, "newsletter__"),
        newsletter__publisher=principal.publisher,
        newsletter__deleted_at__isnull=True,
    )
    return mine.select_related("newsletter")


def issues(principal: Principal) -> QuerySet[Issue]:
    mine = Issue.objects.filter(
        _within_limits(principal, "newsletter__"),
        newsletter__publisher=principal.publisher,
        newsletter__deleted_at__isnull=True,
    )
    return mine.select_related("newsletter__publisher", "newsletter__sender")


def deliveries(principal: Principal) -> QuerySet[Delivery]:
    # Of an archived issue all rows are gone at once, though their removal takes its time.
    mine = Delivery.objects.filter(
        _within_limits(principal, "issue__newsletter__"),
        issue__newsletter__publisher=principal.publisher,
        issue__newsletter__deleted_at__isnull=True,
        issue__archived_at__isnull=True,
    )
    # The issue's text has up to 512 KB, and would come once for each row.
    return mine.select_related("issue", "subscription__subscriber").defer("issue__body")


def destinations(principal: Principal) -> QuerySet[Destination]:
    return Destination.objects.filter(publisher=principal.publisher).annotate(closed=CLOSED)


def logged_requests(principal: Principal) -> QuerySet[LoggedRequest]:
    return LoggedRequest.objects.filter(publisher=principal.publisher).select_related("api_key")


def api_keys(principal: Principal) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(publisher=principal.publisher)


def audit_entries(principal: Principal) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(publisher=principal.publisher)


def find(rows: QuerySet[M], prefix: str, public_id: str) -> M:
    """Return the row with a public id such as "iss_01k…". Raises NotFoundError, also for malformed ids."""
    row = rows.filter(public_id=decode(prefix, public_id)).first()
    if row is None:
        raise NotFoundError("not_found", "There is no such object.")
    return row


def find_newsletter(principal: Principal, public_id: str) -> Newsletter:
    """Return the newsletter with a public id such as "nl_01k…". Raises NotFoundError."""
    return find(newsletters(principal), "nl", public_id)


def find_delivery(principal: Principal, public_id: str) -> Delivery:
    """Return the delivery with a public id such as "dlv_mfrgg…". Raises NotFoundError."""
    row = deliveries(principal).filter(pk=sealed_number("dlv", "delivery", public_id)).first()
    if row is None:
        raise NotFoundError("not_found", "There is no such object.")
    return row
