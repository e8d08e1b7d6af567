"""Up to 1,000 readers at once in one transaction and a few statements.

Row by row the outcome is that of `subscribing.enter` for one reader after the other; a row that is refused
keeps none of the others out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from core.addresses import Address, canonical_reader
from core.errors import ConflictError, CourantError
from newsletters.audience.profile import checked_attributes, checked_name
from newsletters.audience.subscribing import ACTIVE, CONFIRMATION_PAUSE, PENDING, UNSUBSCRIBED, checked_source
from newsletters.models import (
    ConsentEvent,
    Newsletter,
    Notice,
    NoticeKind,
    OptIn,
    Subscriber,
    Subscription,
    SubscriptionState,
    Suppression,
)

MOST_READERS = 1_000


class Candidate(NamedTuple):
    """A reader to add, as stated by the caller."""

    address: str
    name: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Added:
    """What became of one candidate: the subscription, new or not, or why there is none."""

    subscription: Subscription | None = None
    is_new: bool = False
    error: CourantError | None = None


class _Reader(NamedTuple):
    who: Address
    facts: dict[str, Any]


def add_many(
    newsletter: Newsletter, candidates: Sequence[Candidate], *, consent_source: str, confirmed: bool
) -> list[Added]:
    """Enter up to 1,000 readers into a newsletter; return what became of each, in their order.

    `consent_source` and `confirmed` are as in `subscribing.subscribe`, and so is what refuses a single row.
    Raises InvalidError `invalid_consent_source`.
    """
    source = checked_source(consent_source)
    checked = [_checked(candidate) for candidate in candidates]
    # The first valid row of an address counts, as it would in single requests.
    readers = {one.who.key: one for one in reversed(checked) if isinstance(one, _Reader)}
    with transaction.atomic():
        outcomes = _enter(newsletter, [readers[key] for key in sorted(readers)], source, confirmed=confirmed)
    seen: set[str] = set()
    return [_outcome(one, outcomes, seen) for one in checked]


def _checked(candidate: Candidate) -> _Reader | CourantError:
    try:
        facts = {"name": checked_name(candidate.name), "attributes": checked_attributes(candidate.attributes)}
        return _Reader(canonical_reader(candidate.address), facts)
    except CourantError as error:
        return error


def _outcome(one: _Reader | CourantError, outcomes: Mapping[str, Added], seen: set[str]) -> Added:
    if isinstance(one, CourantError):
        return Added(error=one)
    outcome = outcomes[one.who.key]
    repeated = one.who.key in seen
    seen.add(one.who.key)
    return Added(outcome.subscription, outcome.is_new and not repeated, outcome.error)


def _enter(newsletter: Newsletter, readers: list[_Reader], source: str, *, confirmed: bool) -> dict[str, Added]:
    direct = confirmed or newsletter.opt_in == OptIn.SINGLE
    ids = _find_or_add_subscribers(newsletter.publisher_id, readers)
    places, new = _find_or_add_places(newsletter, ids.values(), ACTIVE if direct else PENDING)
    if len(places) < len(readers):
        raise ConflictError("subscription_changed", "A reader has just been erased by somebody else.")
    old = [place for place in places.values() if place.pk not in new]
    refused, moved = _join_again(old, confirmed=confirmed, direct=direct)
    changed = [place for place in places.values() if place.pk in new or place.pk in moved]
    ConsentEvent.objects.bulk_create(
        ConsentEvent(subscription=place, state=place.state, source="subscribe", detail=source) for place in changed
    )
    of_key = {reader.who.key: places[ids[reader.who.key]] for reader in readers}
    waiting = [(of_key[one.who.key], one.who) for one in readers if of_key[one.who.key].state == PENDING]
    _ask_to_confirm(newsletter.publisher_id, [pair for pair in waiting if pair[0].pk not in refused])
    return {
        key: Added(error=refused[place.pk]) if place.pk in refused else Added(place, is_new=place.pk in new)
        for key, place in of_key.items()
    }


def _find_or_add_subscribers(publisher_id: int, readers: list[_Reader]) -> dict[str, int]:
    """Return the ids of the readers by key."""
    there = Subscriber.objects.filter(publisher_id=publisher_id, address_key__in=[one.who.key for one in readers])
    # Locked, so that requests for one reader take turns and no erasure comes between; in one order everywhere.
    locked = there.select_for_update(no_key=True).order_by("pk")
    ids = dict(locked.values_list("address_key", "pk"))
    missing = [one for one in readers if one.who.key not in ids]
    if not missing:
        return ids
    # In the order of an import's rows, so that neither waits for the other in a circle.
    Subscriber.objects.bulk_create(
        [
            Subscriber(
                publisher_id=publisher_id,
                address=one.who.address,
                address_key=one.who.key,
                address_digest=one.who.digest,
                **one.facts,
            )
            for one in missing
        ],
        ignore_conflicts=True,
    )
    return dict(there.values_list("address_key", "pk"))


def _find_or_add_places(
    newsletter: Newsletter, subscriber_ids: Iterable[int], state: SubscriptionState
) -> tuple[dict[int, Subscription], set[int]]:
    """Return the readers' subscriptions by the subscriber's id, and the ids of those that are new."""
    wanted = list(subscriber_ids)
    here = Subscription.objects.filter(newsletter=newsletter, subscriber__in=wanted)
    locked = here.select_for_update(no_key=True).order_by("pk")
    places = {place.subscriber_id: place for place in locked}
    missing = [one for one in wanted if one not in places]
    if not missing:
        return places, set()
    made = [Subscription(subscriber_id=one, newsletter=newsletter, state=state) for one in sorted(missing)]
    Subscription.objects.bulk_create(made, ignore_conflicts=True)
    own = {place.public_id for place in made}
    added = {place.subscriber_id: place for place in locked.filter(subscriber__in=missing)}
    return places | added, {place.pk for place in added.values() if place.public_id in own}


def _join_again(
    places: list[Subscription], *, confirmed: bool, direct: bool
) -> tuple[dict[int, CourantError], set[int]]:
    """Move the known subscriptions that a new request moves; return why others are refused, and the ids moved."""
    gone = [place for place in places if place.state == UNSUBSCRIBED]
    waiting = [place for place in places if place.state == PENDING and direct]
    # Who once left stays pending even where new readers need not confirm.
    lines = ConsentEvent.objects.filter(subscription__in=waiting, state=UNSUBSCRIBED)
    left = set(lines.values_list("subscription_id", flat=True)) if waiting else set()
    back = [place for place in waiting if place.pk not in left]
    if confirmed:
        refused = gone + [place for place in waiting if place.pk in left]
        gone = []
    else:
        refused = []
    _move(gone, UNSUBSCRIBED, PENDING)
    _move(back, PENDING, ACTIVE)
    error = ConflictError(
        "reader_unsubscribed", "This reader left the newsletter and comes back by an own request only."
    )
    return dict.fromkeys([place.pk for place in refused], error), {place.pk for place in gone + back}


def _move(places: list[Subscription], source: SubscriptionState, target: SubscriptionState) -> None:
    if not places:
        return
    here = Subscription.objects.filter(pk__in=[place.pk for place in places], state=source)
    if here.update(state=target, changed_at=Now()) != len(places):
        raise ConflictError("subscription_changed", "A subscription has just been changed by somebody else.")
    for place in places:
        place.state = target


def _ask_to_confirm(publisher_id: int, waiting: list[tuple[Subscription, Address]]) -> None:
    """Queue the confirmation mails that are due, as `subscribing` does for one."""
    if not waiting:
        return
    places = [place for place, _ in waiting]
    lately = Notice.objects.filter(
        subscription__in=places, kind=NoticeKind.CONFIRMATION, created_at__gt=Now() - CONFIRMATION_PAUSE
    )
    mailed = dict(lately.values_list("subscription_id").annotate(latest=Max("created_at")))
    answers = ConsentEvent.objects.filter(subscription__in=mailed.keys(), source="confirmation")
    answered = dict(answers.values_list("subscription_id").annotate(latest=Max("at")))
    digests = [who.digest for _, who in waiting]
    barred = Suppression.objects.filter(publisher_id=publisher_id, address_digest__in=digests)
    suppressed = {bytes(digest) for digest in barred.values_list("address_digest", flat=True)}

    def is_due(place: Subscription, who: Address) -> bool:
        mail, answer = mailed.get(place.pk), answered.get(place.pk)
        return who.digest not in suppressed and (mail is None or (answer is not None and mail <= answer))

    addresses = dict(
        Subscriber.objects.filter(pk__in=[place.subscriber_id for place in places]).values_list("pk", "address")
    )
    Notice.objects.bulk_create(
        Notice(kind=NoticeKind.CONFIRMATION, to_address=addresses[place.subscriber_id], subscription=place)
        for place, who in waiting
        if is_due(place, who)
    )
