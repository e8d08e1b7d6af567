from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from core.errors import ConflictError, GoneError, InvalidError, NotFoundError
from newsletters.audience.subscribing import confirm, subscribe, unsubscribe, update_subscriber
from newsletters.audience.suppressing import is_suppressed, suppress
from newsletters.models import (
    ConsentEvent,
    Notice,
    OptIn,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from tests import cast
from tests.audience.acts import history, join, state_of

pytestmark = pytest.mark.django_db
PENDING, ACTIVE, UNSUBSCRIBED = SubscriptionState.PENDING, SubscriptionState.ACTIVE, SubscriptionState.UNSUBSCRIBED


def test_a_new_reader_is_pending_and_gets_one_confirmation_mail() -> None:
    newsletter = cast.make_newsletter()
    subscription = join(newsletter, name=" Ada ", attributes={"city": "London"})
    subscriber = subscription.subscriber
    assert (subscription.state, subscriber.name, subscriber.attributes) == (PENDING, "Ada", {"city": "London"})
    assert history(subscription) == [(PENDING, "subscribe")]
    assert ConsentEvent.objects.get().detail == "a test"
    notice = Notice.objects.get()
    assert (notice.kind, notice.to_address, notice.subscription) == ("confirmation", cast.ADA, subscription)


def test_a_reader_vouched_for_is_active_without_a_mail() -> None:
    subscription = join(cast.make_newsletter(), confirmed=True)
    assert history(subscription) == [(ACTIVE, "subscribe")]
    assert not Notice.objects.exists()


def test_a_newsletter_with_single_opt_in_takes_a_new_reader_at_once() -> None:
    subscription = join(cast.make_newsletter(opt_in=OptIn.SINGLE))
    assert subscription.state == ACTIVE
    assert not Notice.objects.exists()


def test_subscribing_twice_changes_nothing_and_sends_no_second_mail() -> None:
    newsletter = cast.make_newsletter()
    first = join(newsletter, name="Ada")
    second = join(newsletter, name="Somebody else", address="ADA@EXAMPLE.ORG")
    assert first == second
    assert Subscriber.objects.get().name == "Ada"
    assert history(first) == [(PENDING, "subscribe")]
    assert Notice.objects.count() == 1


def test_a_pending_reader_gets_another_confirmation_mail_after_a_day() -> None:
    newsletter = cast.make_newsletter()
    join(newsletter)
    Notice.objects.update(created_at=Now() - timedelta(hours=23))
    join(newsletter)
    assert Notice.objects.count() == 1
    Notice.objects.update(created_at=Now() - timedelta(hours=25))
    join(newsletter)
    assert Notice.objects.count() == 2


def test_one_address_in_two_newsletters_is_one_subscriber() -> None:
    first = cast.make_newsletter()
    join(first)
    join(cast.make_newsletter(first.publisher))
    join(cast.make_newsletter())
    assert (Subscriber.objects.count(), Subscription.objects.count()) == (2, 3)


def test_a_pending_reader_becomes_active_when_vouched_for() -> None:
    newsletter = cast.make_newsletter()
    join(newsletter)
    assert history(join(newsletter, confirmed=True)) == [(PENDING, "subscribe"), (ACTIVE, "subscribe")]


def test_a_suppressed_address_is_stored_and_gets_no_mail() -> None:
    newsletter = cast.make_newsletter()
    digest = bytes(cast.make_subscriber(newsletter.publisher).address_digest)
    suppress(newsletter.publisher_id, digest, SuppressionReason.BOUNCED)
    suppress(newsletter.publisher_id, digest, SuppressionReason.MANUAL)
    assert is_suppressed(newsletter.publisher_id, digest)
    assert not is_suppressed(newsletter.publisher_id + 1, digest)
    assert join(newsletter).state == PENDING
    assert not Notice.objects.exists()


def test_confirming_makes_active_once_however_often_it_is_asked() -> None:
    subscription = join(cast.make_newsletter())
    assert confirm(subscription.pk).state == ACTIVE
    assert confirm(subscription.pk).state == ACTIVE
    assert history(subscription) == [(PENDING, "subscribe"), (ACTIVE, "confirmation")]


def test_confirming_does_not_bring_back_a_reader_who_left() -> None:
    subscription = join(cast.make_newsletter())
    unsubscribe(subscription.pk, source="api")
    with pytest.raises(GoneError, match="left"):
        confirm(subscription.pk)
    assert state_of(subscription) == UNSUBSCRIBED


def test_an_old_link_does_not_confirm_a_newer_request() -> None:
    newsletter = cast.make_newsletter()
    subscription = join(newsletter)
    unsubscribe(subscription.pk, source="api")
    join(newsletter)
    with pytest.raises(GoneError):
        confirm(subscription.pk, link_age=timedelta(hours=1))
    assert state_of(subscription) == PENDING
    assert confirm(subscription.pk, link_age=timedelta(seconds=2)).state == ACTIVE


def test_confirming_something_unknown_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        confirm(4711)


def test_leaving_twice_writes_one_line_and_leaving_nothing_is_no_error() -> None:
    subscription = join(cast.make_newsletter(), confirmed=True)
    unsubscribe(subscription.pk, source="one_click")
    unsubscribe(subscription.pk, source="api")
    unsubscribe(4711, source="api")
    assert history(subscription) == [(ACTIVE, "subscribe"), (UNSUBSCRIBED, "one_click")]


def test_nobody_can_vouch_for_a_reader_who_left() -> None:
    newsletter = cast.make_newsletter()
    subscription = join(newsletter, confirmed=True)
    unsubscribe(subscription.pk, source="api")
    with pytest.raises(ConflictError) as caught:
        join(newsletter, confirmed=True)
    assert caught.value.code == "reader_unsubscribed"
    join(newsletter)
    with pytest.raises(ConflictError):
        join(newsletter, confirmed=True)
    assert state_of(subscription) == PENDING


@pytest.mark.parametrize("policy", [OptIn.SINGLE, OptIn.DOUBLE])
def test_a_reader_who_left_comes_back_by_confirming_a_new_request(policy: OptIn) -> None:
    newsletter = cast.make_newsletter(opt_in=policy)
    subscription = join(newsletter, confirmed=True)
    unsubscribe(subscription.pk, source="api")
    assert join(newsletter).state == PENDING
    assert join(newsletter).state == PENDING
    assert Notice.objects.count() == 1
    assert confirm(subscription.pk).state == ACTIVE


def test_a_reader_who_confirmed_and_left_may_ask_again_on_the_same_day() -> None:
    newsletter = cast.make_newsletter()
    subscription = join(newsletter)
    confirm(subscription.pk)
    unsubscribe(subscription.pk, source="api")
    join(newsletter)
    join(newsletter)
    assert Notice.objects.count() == 2


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"address": "nobody"}, "invalid_address"),
        ({"name": "a" * 101}, "too_long"),
        ({"name": "Ada\nBcc: x@y.co"}, "control_character"),
        ({"name": "Ada\x85"}, "control_character"),
        ({"name": "Ada\u2028"}, "control_character"),
        ({"name": "Ada\ud800"}, "control_character"),
        ({"name": "Ada\x00"}, "control_character"),
        ({"attributes": {"City": "x"}}, "invalid_attribute_name"),
        ({"attributes": {"a" * 41: "x"}}, "invalid_attribute_name"),
        ({"attributes": {"city": "x" * 1025}}, "invalid_attribute_value"),
        ({"attributes": {"city": "a\x00"}}, "invalid_attribute_value"),
        ({"attributes": {"city": float("nan")}}, "invalid_attribute_value"),
        ({"attributes": {"city": 10**400}}, "invalid_attribute_value"),
        ({"attributes": {"city": 1e300}}, "invalid_attribute_value"),
        ({"attributes": {"city": -float(2**54)}}, "invalid_attribute_value"),
        ({"attributes": {"city": float("inf")}}, "invalid_attribute_value"),
        ({"attributes": {"city": {"deep": []}}}, "invalid_attribute_value"),
        ({"attributes": {f"a{number}": 1 for number in range(65)}}, "too_many_attributes"),
        ({"consent_source": " "}, "invalid_consent_source"),
        ({"consent_source": "x" * 201}, "invalid_consent_source"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_and_nothing_is_stored(fields: dict[str, Any], code: str) -> None:
    newsletter = cast.make_newsletter()
    request: dict[str, Any] = {"address": cast.ADA, "consent_source": "a test", "confirmed": True} | fields
    with pytest.raises(InvalidError) as caught:
        subscribe(newsletter, **request)
    assert caught.value.code == code
    assert not Subscriber.objects.exists()


def test_a_hundred_emoji_are_a_name() -> None:
    name = "\U0001f600" * 100
    assert join(cast.make_newsletter(), name=name).subscriber.name == name


def test_updating_a_reader_replaces_only_what_is_given() -> None:
    subscriber = join(cast.make_newsletter(), name="Ada", attributes={"city": "London"}).subscriber
    assert update_subscriber(subscriber, attributes={"city": "Paris"}).name == "Ada"
    changed = update_subscriber(subscriber, name="Countess")
    assert (changed.name, changed.attributes) == ("Countess", {"city": "Paris"})
