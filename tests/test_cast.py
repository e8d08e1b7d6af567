from __future__ import annotations

import hashlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from newsletters.models import ConsentEvent, SubscriptionState
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.mark.dialects
def test_a_reader_has_a_subscription_and_a_line_in_the_consent_log() -> None:
    subscription = cast.make_reader(cast.make_newsletter(), address=cast.CHLOE)
    assert subscription.subscriber.name == "Chloé"
    assert ConsentEvent.objects.get(subscription=subscription).state == SubscriptionState.ACTIVE


@pytest.mark.dialects
def test_a_thousand_readers_cost_a_few_statements() -> None:
    newsletter = cast.make_newsletter()
    with CaptureQueriesContext(connection) as queries:
        readers = cast.make_readers(newsletter, 1000)
    assert len(readers) == 1000
    assert len(queries) < 40


def test_the_plain_key_hashes_to_the_stored_one() -> None:
    key, plain = cast.make_api_key(cast.make_publisher())
    name, prefix, secret = plain.split("_", 2)
    assert (name, prefix) == ("crnt", key.prefix)
    assert hashlib.sha256(secret.encode()).digest() == bytes(key.secret_sha256)
