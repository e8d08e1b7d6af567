from __future__ import annotations

import functools

import pytest

from core.errors import GoneError
from newsletters.audience.subscribing import confirm, erase_subscriber, unsubscribe
from newsletters.audience.suppressing import is_suppressed, suppress
from newsletters.models import (
    ConsentEvent,
    Delivery,
    DeliveryState,
    Notice,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from tests import cast
from tests.audience.acts import history, join, state_of
from tests.racing import raised_at_once

pytestmark = pytest.mark.django_db
UNSUBSCRIBED = SubscriptionState.UNSUBSCRIBED


def test_erasing_a_reader_keeps_the_ledger_without_the_reader() -> None:
    newsletter = cast.make_newsletter()
    subscription = join(newsletter, confirmed=True, name="Ada")
    subscriber = subscription.subscriber
    suppress(newsletter.publisher_id, bytes(subscriber.address_digest), SuppressionReason.COMPLAINED)
    queued, sent = (
        Delivery.objects.create(
            issue=cast.make_issue(newsletter),
            subscription=subscription,
            state=state,
            merge={"subscriber.name": "Ada"},
            reply_text=f"<{cast.ADA}> greylisted",
        )
        for state in (DeliveryState.QUEUED, DeliveryState.SENT)
    )
    other = cast.make_reader(newsletter, address=cast.BORIS)
    untouched = Delivery.objects.create(issue=queued.issue, subscription=other, merge={"subscriber.name": "Boris"})

    erase_subscriber(subscriber)
    erase_subscriber(subscriber)

    for delivery in (queued, sent, untouched):
        delivery.refresh_from_db()
    assert (queued.state, queued.reason, queued.subscription_id) == (DeliveryState.SUPPRESSED, "erased", None)
    assert queued.settled_at is not None
    assert (sent.state, sent.reason, sent.subscription_id) == (DeliveryState.SENT, None, None)
    assert (queued.merge, queued.reply_text, sent.merge, sent.reply_text) == (None, None, None, None)
    assert (untouched.state, untouched.merge) == (DeliveryState.QUEUED, {"subscriber.name": "Boris"})
    assert list(Subscriber.objects.all()) == [other.subscriber]
    assert is_suppressed(newsletter.publisher_id, bytes(subscriber.address_digest))


@pytest.mark.django_db(transaction=True)
def test_the_same_address_from_many_at_once_is_one_reader_and_one_mail() -> None:
    newsletter = cast.make_newsletter()
    spellings = ["ada@example.org", "ADA@example.org", "ada@EXAMPLE.org", "Ada@Example.Org"]
    joins = [functools.partial(join, newsletter, address=spelling) for spelling in spellings * 2]
    assert raised_at_once(*joins, expected=Exception) == []
    assert (Subscriber.objects.count(), Subscription.objects.count(), ConsentEvent.objects.count()) == (1, 1, 1)
    assert Notice.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_confirming_and_leaving_at_once_keeps_state_and_log_in_step() -> None:
    subscription = join(cast.make_newsletter())

    def act(number: int) -> None:
        if number % 2:
            unsubscribe(subscription.pk, source="one_click")
        else:
            confirm(subscription.pk)

    acts = [functools.partial(act, number) for number in range(6)]
    assert {type(error) for error in raised_at_once(*acts, expected=Exception)} <= {GoneError}
    assert history(subscription)[-1][0] == state_of(subscription) == UNSUBSCRIBED
    assert [state for state, _ in history(subscription)].count(UNSUBSCRIBED) == 1


@pytest.mark.django_db(transaction=True)
def test_subscribing_while_being_erased_never_fails() -> None:
    newsletter = cast.make_newsletter()
    for _ in range(5):
        subscriber = join(newsletter, confirmed=True).subscriber

        def act(number: int, subscriber: Subscriber = subscriber) -> None:
            if number:
                join(newsletter, confirmed=True)
            else:
                erase_subscriber(subscriber)

        assert raised_at_once(*[functools.partial(act, number) for number in range(4)], expected=Exception) == []
        assert Subscription.objects.count() == Subscriber.objects.count() <= 1
