"""A reader joins, confirms, changes, leaves and is erased. Each step is one transaction.

Every change of a subscription's state is a guarded UPDATE with a line in the consent log.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from core.addresses import Address, canonical_reader
from core.errors import ConflictError, GoneError, NotFoundError, invalid_field
from newsletters.audience.profile import checked_attributes, checked_name, has_control_character
from newsletters.audience.suppressing import is_suppressed
from newsletters.models import (
    ConsentEvent,
    Delivery,
    DeliveryState,
    Newsletter,
    Notice,
    NoticeKind,
    OptIn,
    Subscriber,
    Subscription,
    SubscriptionState,
)

CONFIRMATION_PAUSE = timedelta(hours=24)
MAX_SOURCE_LENGTH = 200
# A link is made after the request that it confirms; the clocks of two machines may differ by this much.
CLOCK_SKEW = timedelta(minutes=5)
PENDING, ACTIVE, UNSUBSCRIBED = SubscriptionState.PENDING, SubscriptionState.ACTIVE, SubscriptionState.UNSUBSCRIBED


def subscribe(
    newsletter: Newsletter,
    *,
    address: str,
    name: str = "",
    attributes: Mapping[str, Any] | None = None,
    consent_source: str,
    confirmed: bool,
) -> Subscription:
    """Enter a reader into a newsletter and return the subscription.

    With `confirmed` the caller vouches for the reader's consent and the subscription is active at
    once; otherwise it is pending and a confirmation mail is queued (at most one in 24 hours, none to
    a suppressed address), unless the newsletter takes new readers without one. A reader who left
    comes back by an own request only: pending, whatever the newsletter's policy. What is known of a
    known reader is not changed. `consent_source` says in up to 200 characters where consent was given.

    Raises InvalidError (address, name, attributes, consent source) and ConflictError
    `reader_unsubscribed` when somebody vouches for a reader who left.
    """
    return enter(
        newsletter,
        address=address,
        name=name,
        attributes=attributes,
        consent_source=consent_source,
        confirmed=confirmed,
    )[0]


def enter(
    newsletter: Newsletter,
    *,
    address: str,
    name: str,
    attributes: Mapping[str, Any] | None,
    consent_source: str,
    confirmed: bool,
) -> tuple[Subscription, bool]:
    """Do what `subscribe` does; say too whether the subscription is a new one."""
    who = canonical_reader(address)
    facts = {"name": checked_name(name), "attributes": checked_attributes(attributes or {})}
    source = checked_source(consent_source)
    direct = confirmed or newsletter.opt_in == OptIn.SINGLE
    with transaction.atomic():
        subscriber = _find_or_add(newsletter.publisher_id, who, facts)
        subscription, created = Subscription.objects.get_or_create(
            subscriber=subscriber, newsletter=newsletter, defaults={"state": ACTIVE if direct else PENDING}
        )
        if created:
            _log(subscription, "subscribe", source)
        else:
            subscription = _join_again(subscription.pk, source, confirmed=confirmed, direct=direct)
        if subscription.state == PENDING:
            _ask_to_confirm(subscription, subscriber)
    return subscription, created


def confirm(subscription_id: int, *, link_age: timedelta = timedelta(0)) -> Subscription:
    """Make a pending subscription active by the reader's word; nothing changes if it already is.

    `link_age` is how long ago the reader's link was made: a link confirms no request that is younger
    than itself. Raises NotFoundError `not_found`, and GoneError `reader_unsubscribed` when the reader
    has left since, or the link belongs to an earlier request.
    """
    with transaction.atomic():
        subscription = _locked(subscription_id)
        asked_before = Subscription.objects.filter(pk=subscription.pk, changed_at__lte=Now() - (link_age - CLOCK_SKEW))
        if subscription.state == PENDING and asked_before.exists():
            _move(subscription, ACTIVE, "confirmation", "")
        if subscription.state != ACTIVE:
            raise GoneError("reader_unsubscribed", "You have left this newsletter since that link was sent.")
    return subscription


def request_again(subscription_id: int) -> Subscription:
    """Take the reader's own new request, made with a link from a mail, for a subscription that is known.

    Raises NotFoundError `not_found` when it, or its newsletter, is gone.
    """
    known = (
        Subscription.objects.select_related("subscriber", "newsletter")
        .filter(pk=subscription_id, newsletter__deleted_at__isnull=True)
        .first()
    )
    if known is None:
        raise NotFoundError("not_found", "There is no such subscription.")
    return subscribe(
        known.newsletter,
        address=known.subscriber.address,
        consent_source="a link in a mail to the reader",
        confirmed=False,
    )


def unsubscribe(subscription_id: int, *, source: str) -> None:
    """End a subscription; one that has ended, or is no longer known, is left as it is.

    `source` is a word for the consent log such as "one_click" or "api" (at most 40 characters).
    """
    with transaction.atomic():
        subscription = Subscription.objects.select_for_update().filter(pk=subscription_id).first()
        if subscription is not None and subscription.state != UNSUBSCRIBED:
            _move(subscription, UNSUBSCRIBED, source, "")


def update_subscriber(
    subscriber: Subscriber, *, name: str | None = None, attributes: Mapping[str, Any] | None = None
) -> Subscriber:
    """Replace a reader's name, attributes or both; None leaves a value as it is.

    Raises InvalidError as `subscribe` does.
    """
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = checked_name(name)
    if attributes is not None:
        changes["attributes"] = checked_attributes(attributes)
    if changes:
        Subscriber.objects.filter(pk=subscriber.pk).update(**changes, updated_at=Now())
        subscriber.refresh_from_db()
    return subscriber


def erase_subscriber(subscriber: Subscriber) -> None:
    """Delete everything that says who a reader was.

    Ledger rows stay, without the reader's values; those still queued become `suppressed` with reason
    `erased` (the gate refuses the ones in a lane's hands). A suppression stays: it holds only an HMAC.
    """
    with transaction.atomic():
        # Held until the end, so that nobody enters the reader into another newsletter meanwhile.
        if not Subscriber.objects.select_for_update().filter(pk=subscriber.pk).exists():
            return
        # And so that no line comes into a consent log after those that the deletion has found.
        places = Subscription.objects.select_for_update().filter(subscriber=subscriber).order_by("pk")
        # The ledger's index begins with the issue.
        ledger = Delivery.objects.filter(issue__newsletter=F("subscription__newsletter"))
        rows = ledger.filter(subscription__in=list(places.values_list("pk", flat=True)))
        Delivery.objects.filter(pk__in=list(rows.values_list("pk", flat=True)), state=DeliveryState.QUEUED).update(
            state=DeliveryState.SUPPRESSED, reason="erased", settled_at=Now()
        )
        # The database itself forgets the readers' values in the ledger (migration 0004).
        subscriber.delete()


def checked_source(consent_source: str) -> str:
    """Return the stated source of consent; raises InvalidError at "/consent_source"."""
    stated = consent_source.strip()
    if not stated or len(stated) > MAX_SOURCE_LENGTH or has_control_character(stated):
        raise invalid_field(
            "/consent_source",
            "invalid_consent_source",
            f"Say in 1 to {MAX_SOURCE_LENGTH} characters where the readers gave their consent.",
        )
    return stated


def _find_or_add(publisher_id: int, who: Address, facts: dict[str, Any]) -> Subscriber:
    # Locked, so that two requests for one reader take turns and no erasure comes between. The key stays free: who adds
    # many readers at once may have to refer to this one meanwhile.
    locked = Subscriber.objects.select_for_update(no_key=True).filter(publisher_id=publisher_id, address_key=who.key)
    while (subscriber := locked.first()) is None:
        missing = Subscriber(
            publisher_id=publisher_id, address=who.address, address_key=who.key, address_digest=who.digest, **facts
        )
        Subscriber.objects.bulk_create([missing], ignore_conflicts=True)
    return subscriber


def _join_again(subscription_id: int, source: str, *, confirmed: bool, direct: bool) -> Subscription:
    subscription = _locked(subscription_id)
    if subscription.state == UNSUBSCRIBED:
        if confirmed:
            raise ConflictError(
                "reader_unsubscribed", "This reader left the newsletter and comes back by an own request only."
            )
        _move(subscription, PENDING, "subscribe", source)
    elif subscription.state == PENDING and direct:
        # A reader who once left stays pending even where new ones need not confirm.
        left_before = subscription.consent_events.filter(state=UNSUBSCRIBED).exists()
        if confirmed and left_before:
            raise ConflictError("reader_unsubscribed", "This reader left the newsletter and has not confirmed since.")
        if not left_before:
            _move(subscription, ACTIVE, "subscribe", source)
    return subscription


def _locked(subscription_id: int) -> Subscription:
    subscription = Subscription.objects.select_for_update().filter(pk=subscription_id).first()
    if subscription is None:
        raise NotFoundError("not_found", "There is no such subscription.")
    return subscription


def _move(subscription: Subscription, state: SubscriptionState, source: str, detail: str) -> None:
    moved = Subscription.objects.filter(pk=subscription.pk, state=subscription.state).update(
        state=state, changed_at=Now()
    )
    if moved != 1:
        raise ConflictError("subscription_changed", "The subscription has just been changed by somebody else.")
    subscription.refresh_from_db()
    _log(subscription, source, detail)


def _log(subscription: Subscription, source: str, detail: str) -> None:
    ConsentEvent.objects.create(subscription=subscription, state=subscription.state, source=source, detail=detail)


def _ask_to_confirm(subscription: Subscription, subscriber: Subscriber) -> None:
    mails = Notice.objects.filter(
        subscription=subscription, kind=NoticeKind.CONFIRMATION, created_at__gt=Now() - CONFIRMATION_PAUSE
    )
    answered = subscription.consent_events.filter(source="confirmation").order_by("-id").first()
    # Who has answered the last mail and left again may ask for another on the same day.
    unanswered = mails if answered is None else mails.filter(created_at__gt=answered.at)
    if unanswered.exists() or is_suppressed(subscriber.publisher_id, bytes(subscriber.address_digest)):
        return
    Notice.objects.create(kind=NoticeKind.CONFIRMATION, to_address=subscriber.address, subscription=subscription)
