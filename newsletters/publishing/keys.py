"""API keys that are limited to some of their publisher's newsletters, and what owners do to keys."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from accounts import keys
from accounts.audit import Actor
from accounts.models import ApiKey, Publisher, User
from accounts.people.standing import lock, require_owner
from core.errors import invalid_field
from newsletters.models import KeyLimit, Newsletter


@transaction.atomic
def create_key(
    publisher: Publisher, *, newsletters: Collection[Newsletter] | None = None, **facts: Any
) -> tuple[ApiKey, str]:
    """Store a new key and return it with its text, which cannot be read again.

    `newsletters` are those that it is limited to, None is all. `facts` are those of `accounts.keys.create_key`.
    Raises InvalidError as that does, and `unknown_newsletter` for no newsletter and for another publisher's.
    """
    if newsletters is None:
        return keys.create_key(publisher, **facts)
    if not newsletters or any(one.publisher_id != publisher.pk for one in newsletters):
        raise invalid_field("/newsletters", "unknown_newsletter", "Choose from the newsletters of the key's publisher.")
    wanted = set(newsletters)
    key, text = keys.create_key(publisher, limits={"newsletters": sorted(one.uid for one in wanted)}, **facts)
    KeyLimit.objects.bulk_create(KeyLimit(api_key=key, newsletter=one) for one in wanted)
    return key, text


@transaction.atomic
def create_key_as(by: User, publisher: Publisher, *, actor: Actor, **facts: Any) -> tuple[ApiKey, str]:
    """Do what `create_key` does for an owner. Raises ForbiddenError and NotFoundError for others besides."""
    require_owner(by, lock(publisher))
    return create_key(publisher, created_by=by, actor=actor, **facts)


@transaction.atomic
def revoke_key_as(by: User, key: ApiKey, *, actor: Actor) -> None:
    """Do what `accounts.keys.revoke` does for an owner. Raises ForbiddenError and NotFoundError for others."""
    require_owner(by, lock(key.publisher))
    keys.revoke(key, actor=actor)
