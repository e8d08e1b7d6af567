"""Adding many readers at once: row by row the same as one after the other, in a few statements."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from core.errors import CourantError, InvalidError
from core.tokens import address_digest
from newsletters.audience.adding import Added, Candidate, add_many
from newsletters.audience.subscribing import enter, erase_subscriber, unsubscribe
from newsletters.audience.suppressing import suppress
from newsletters.models import (
    ConsentEvent,
    Newsletter,
    Notice,
    NoticeKind,
    OptIn,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from tests import cast

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
PENDING, ACTIVE, UNSUBSCRIBED = SubscriptionState.PENDING, SubscriptionState.ACTIVE, SubscriptionState.UNSUBSCRIBED
PASTS = (
    "unknown",
    "reader of another newsletter",
    "pending",
    "pending, mailed",
    "active",
    "left",
    "left, back, pending",
    "confirmed, left, mailed before",
    "suppressed",
)
WRONG = [
    Candidate("nobody", "", {}),
    Candidate("a@b.co\nBcc: x@y.co", "", {}),
    Candidate("a@example.org", "x" * 101, {}),
    Candidate("b@example.org", "a\u2028b", {}),
    Candidate("c@example.org", "", {"Bad Name": 1}),
    Candidate("d@example.org", "", {"city": [1]}),
]


def mail(place: Subscription) -> None:
    Notice.objects.create(kind=NoticeKind.CONFIRMATION, to_address=place.subscriber.address, subscription=place)


def move(place: Subscription, state: SubscriptionState, source: str) -> None:
    Subscription.objects.filter(pk=place.pk).update(state=state, changed_at=Now())
    ConsentEvent.objects.create(subscription=place, state=state, source=source)


def give_a_past(newsletter: Newsletter, address: str, past: str) -> None:
    if past == "unknown":
        return
    if past == "suppressed":
        suppress(newsletter.publisher_id, address_digest(address), SuppressionReason.BOUNCED)
        return
    if past.startswith("reader"):
        cast.make_subscriber(newsletter.publisher, address=address)
        return
    place = cast.make_reader(newsletter, address=address, state=ACTIVE if past == "active" else PENDING)
    if past == "pending, mailed":
        mail(place)
    elif past.startswith("left"):
        move(place, UNSUBSCRIBED, "one_click")
        if past.endswith("pending"):
            move(place, PENDING, "subscribe")
    elif past.startswith("confirmed"):
        mail(place)
        move(place, ACTIVE, "confirmation")
        move(place, UNSUBSCRIBED, "one_click")


def one_by_one(newsletter: Newsletter, candidates: list[Candidate], source: str, *, confirmed: bool) -> list[Added]:
    outcomes = []
    for candidate in candidates:
        try:
            facts: dict[str, Any] = candidate._asdict()
            outcomes.append(Added(*enter(newsletter, **facts, consent_source=source, confirmed=confirmed)))
        except CourantError as error:
            outcomes.append(Added(error=error))
    return outcomes


def told(outcomes: list[Added]) -> list[Any]:
    return [
        (one.error.code, one.error.errors) if one.error else (one.is_new, one.subscription and one.subscription.state)
        for one in outcomes
    ]


def facts_of(newsletter: Newsletter) -> dict[str, Any]:
    """Return all that is stored of a newsletter's readers, without ids and times."""
    places = Subscription.objects.filter(newsletter=newsletter).select_related("subscriber")
    return {
        place.subscriber.address_key: (
            place.state,
            place.subscriber.address,
            place.subscriber.name,
            place.subscriber.attributes,
            list(place.consent_events.order_by("pk").values_list("state", "source", "detail")),
            list(place.notices.order_by("pk").values_list("kind", "to_address", "state")),
        )
        for place in places
    }


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("opt_in", OptIn.values)
@pytest.mark.parametrize("confirmed", [True, False])
def test_many_at_once_are_the_same_as_one_after_the_other(seed: int, opt_in: str, *, confirmed: bool) -> None:
    dice = random.Random(seed)  # noqa: S311  # repeatable, no secret
    twins = [cast.make_newsletter(cast.make_publisher(), opt_in=opt_in) for _ in range(2)]
    pasts = {f"reader-{number}@example.org": dice.choice(PASTS) for number in range(14)}
    for newsletter in twins:
        for address, past in pasts.items():
            give_a_past(newsletter, address, past)
    shown = [dice.choice([address, address.capitalize()]) for address in dice.choices(list(pasts), k=16)]
    candidates = [Candidate(address, f"N {n}", {"n": n}) for n, address in enumerate(shown)] + dice.sample(WRONG, 4)
    dice.shuffle(candidates)
    many = add_many(twins[0], candidates, consent_source="a fair", confirmed=confirmed)
    each = one_by_one(twins[1], candidates, "a fair", confirmed=confirmed)
    assert told(many) == told(each)
    assert facts_of(twins[0]) == facts_of(twins[1])


def test_a_thousand_readers_take_as_many_statements_as_ten() -> None:
    newsletter = cast.make_newsletter()

    def cost(first: int, count: int) -> int:
        readers = [Candidate(f"r{number}@example.org", "R", {}) for number in range(first, first + count)]
        with CaptureQueriesContext(connection) as queries:
            outcomes = add_many(newsletter, readers, consent_source="form", confirmed=False)
        assert all(one.is_new for one in outcomes)
        return len(queries)

    few, many = cost(0, 10), cost(10, 1_000)
    # SQLite takes a limited number of values in a statement, so its INSERTs come in pieces.
    assert many == few if connection.vendor == "postgresql" else many < few + 60
    assert few <= 16
    assert (Notice.objects.count(), ConsentEvent.objects.count()) == (1_010, 1_010)


def test_nothing_is_stored_without_a_source_of_consent() -> None:
    with pytest.raises(InvalidError) as caught:
        add_many(cast.make_newsletter(), [Candidate(cast.ADA, "", {})], consent_source=" ", confirmed=True)
    assert caught.value.code == "invalid_consent_source"
    assert not Subscriber.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_lists_that_overlap_single_requests_and_erasures_neither_fail_nor_double_anybody() -> None:
    newsletter, count = cast.make_newsletter(), 12
    addresses = [f"reader-{number}@example.org" for number in range(60)]
    gate = threading.Barrier(count)
    conflicts: list[CourantError] = []

    def act(number: int) -> None:
        dice = random.Random(number)  # noqa: S311  # repeatable, no secret
        try:
            gate.wait(timeout=120)
            for _ in range(4):
                mine = dice.sample(addresses, 40)
                if number % 4 == 0:
                    enter(newsletter, address=mine[0], name="", attributes={}, consent_source="form", confirmed=False)
                elif number % 4 == 1:
                    place = Subscription.objects.filter(subscriber__address_key=mine[0]).first()
                    erase_subscriber(place.subscriber) if place else None
                    other = Subscription.objects.filter(subscriber__address_key=mine[1]).first()
                    unsubscribe(other.pk, source="api") if other else None
                else:
                    people = [Candidate(address, "", {}) for address in mine]
                    add_many(newsletter, people, consent_source="form", confirmed=number % 4 == 2)
        except CourantError as error:
            conflicts.append(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(act, range(count)))
    assert {error.code for error in conflicts} <= {"subscription_changed"}
    for place in Subscription.objects.all():
        assert place.consent_events.order_by("-pk").values_list("state", flat=True)[0] == place.state
    keys = list(Subscriber.objects.values_list("address_key", flat=True))
    assert len(keys) == len(set(keys))
