"""API keys that are limited to some of their publisher's newsletters, and what owners do to keys."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db import transaction

from accounts import keys
from accounts.audit import Actor
from accounts.models import ApiKey, Publisher, User
from accounts.people.standing import lock, require_owner
from newsletters.models import KeyLimit, Newsletter
from newsletters.publishing.members import limits_to


@transaction.atomic
def create_key(
    publisher: Publisher, *, newsletters: Collection[Newsletter] | None = None, **facts: Any
) -> tuple[ApiKey, str]:
    """Store a new key and return it with its text, which cannot be read again.

    `newsletters` are those that it is limited to, None is all. `facts` are those of `accounts.keys.create_key`.
    Raises InvalidError as that does, and `unknown_newsletter` for no newsletter and for another publisher's.
    """
    key, text = keys.create_key(publisher, limits=limits_to(publisher, newsletters), **facts)
    KeyLimit.objects.bulk_create(KeyLimit(api_key=key, newsletter=one) for one in set(newsletters or ()))
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
