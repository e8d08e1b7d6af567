"""The fixed cast: typed makers of the rows that tests are about.

Each maker saves one valid object with defaults that read well in an assertion; tests name only what
they are about.
"""

from __future__ import annotations

import itertools
from typing import Any

from accounts.models import ApiKey, Membership, Publisher, Role, Scope, User
from core.tokens import address_digest
from newsletters.models import (
    ConsentEvent,
    Issue,
    Newsletter,
    OptIn,
    SenderIdentity,
    Subscriber,
    Subscription,
    SubscriptionState,
)
from newsletters.publishing.keys import create_key

# People who read, in the order in which tests should use them.
ADA = "ada@example.org"
BORIS = "boris@example.org"
CHLOE = "chloe@example.net"
DMITRI = "dmitri@example.net"
ELIF = "elif@xn--bcher-kva.example"
FARAI = "farai@example.com"
READERS = (ADA, BORIS, CHLOE, DMITRI, ELIF, FARAI)
NAMES = {
    ADA: "Ada",
    BORIS: "Boris",
    CHLOE: "Chloé",
    DMITRI: "Дмитрий",
    ELIF: "Elif",
    FARAI: 'Farai "Fa" O\'Neil, Jr.',
}
EDITOR = "editor@gazette.example"
PASSWORD = "a long pass phrase for tests"
ALL_SCOPES = tuple(Scope.values)

_numbers = itertools.count(1)


def make_publisher(name: str = "The Gazette", **fields: Any) -> Publisher:
    return Publisher.objects.create(name=name, **fields)


def make_user(
    email: str = EDITOR,
    *,
    publisher: Publisher | None = None,
    role: Role = Role.OWNER,
    **fields: Any,
) -> User:
    """Return a user, who is a member of `publisher` when one is given. The password is PASSWORD."""
    user = User.objects.create_user(email, PASSWORD, **fields)
    if publisher is not None:
        Membership.objects.create(publisher=publisher, user=user, role=role)
    return user


def make_sender(
    publisher: Publisher, *, address: str = "news@gazette.example", verified: bool = True
) -> SenderIdentity:
    """Return the publisher's sender identity for an address, a new one or the one already there."""
    sender, _ = SenderIdentity.objects.get_or_create(publisher=publisher, address=address)
    if verified and sender.verified_at is None:
        sender.verified_at = sender.created_at
        sender.save()
    return sender


def make_newsletter(publisher: Publisher | None = None, **fields: Any) -> Newsletter:
    """Return a newsletter with a verified sender, in a publisher of its own unless one is given."""
    publisher = publisher or make_publisher()
    number = next(_numbers)
    defaults: dict[str, Any] = {
        "slug": f"weekly-{number}",
        "name": "The Weekly",
        "from_name": "The Gazette",
        "postal_address": "1 Printing House Square, London",
        "opt_in": OptIn.DOUBLE,
    }
    sender = fields.pop("sender", None) or make_sender(publisher)
    return Newsletter.objects.create(publisher=publisher, sender=sender, **(defaults | fields))


def make_subscriber(publisher: Publisher, *, address: str = ADA, **fields: Any) -> Subscriber:
    """Return the publisher's subscriber with a canonical address, a new one or the one already there."""
    key = address.lower()
    defaults = {"address": address, "address_digest": address_digest(key), "name": NAMES.get(address, "")}
    subscriber, _ = Subscriber.objects.get_or_create(publisher=publisher, address_key=key, defaults=defaults | fields)
    return subscriber


def make_reader(
    newsletter: Newsletter,
    *,
    address: str = ADA,
    state: SubscriptionState = SubscriptionState.ACTIVE,
    source: str = "cast",
    **fields: Any,
) -> Subscription:
    """Return a subscription with its line in the consent log; `fields` belong to the subscriber."""
    subscriber = make_subscriber(newsletter.publisher, address=address, **fields)
    subscription = Subscription.objects.create(subscriber=subscriber, newsletter=newsletter, state=state)
    ConsentEvent.objects.create(subscription=subscription, state=state, source=source)
    return subscription


def make_readers(newsletter: Newsletter, count: int) -> list[Subscription]:
    """Return `count` active readers, reader-1@example.org and so on, in a few statements."""
    publisher = newsletter.publisher
    addresses = [f"reader-{number}@example.org" for number in range(1, count + 1)]
    subscribers = Subscriber.objects.bulk_create(
        Subscriber(publisher=publisher, address=address, address_key=address, address_digest=address_digest(address))
        for address in addresses
    )
    active = SubscriptionState.ACTIVE
    subscriptions = Subscription.objects.bulk_create(
        Subscription(subscriber=subscriber, newsletter=newsletter, state=active) for subscriber in subscribers
    )
    ConsentEvent.objects.bulk_create(
        ConsentEvent(subscription=subscription, state=active, source="cast") for subscription in subscriptions
    )
    return subscriptions


def make_issue(newsletter: Newsletter, **fields: Any) -> Issue:
    """Return an issue, a draft unless `fields` say otherwise."""
    defaults: dict[str, Any] = {
        "subject": "What happened this week",
        "body": '# Hello\n\nDear {{ subscriber.name | default: "reader" }}, it was a quiet week.\n',
    }
    return Issue.objects.create(newsletter=newsletter, **(defaults | fields))


def make_api_key(
    publisher: Publisher, *, scopes: tuple[str, ...] = ALL_SCOPES, newsletters: list[Newsletter] | None = None
) -> tuple[ApiKey, str]:
    """Return a key and its plain text, the value for `Authorization: Bearer`."""
    return create_key(publisher, name="tests", scopes=scopes, newsletters=newsletters)
