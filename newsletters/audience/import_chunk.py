"""The rows of an import that are committed together, with bulk statements."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from core.errors import InvalidError, invalid_field
from newsletters.audience.addresses import Address, canonical
from newsletters.audience.csv_file import Columns
from newsletters.audience.profile import checked_attributes, checked_name
from newsletters.models import (
    ConsentEvent,
    Import,
    ImportRowError,
    Subscriber,
    Subscription,
    SubscriptionState,
    Suppression,
)
from newsletters.models.audience_import import ImportState


class ChunkTakenError(Exception):
    """Another worker has committed these rows."""


@dataclass(frozen=True)
class Reader:
    """What one good row says."""

    who: Address
    name: str
    attributes: dict[str, Any]


class Chunk:
    """Gathers rows and commits them; rows before the import's cursor are only remembered.

    Remembers 16 bytes of a hash for each address of the file: about 100 MB for a million of them.
    """

    def __init__(self, running: Import, columns: Columns) -> None:
        self._import = running
        self._newsletter = running.newsletter
        self._columns = columns
        self._seen: set[int] = set()
        self._position = 0
        self._clear()

    def __len__(self) -> int:
        return self._position - self._import.cursor if self._position > self._import.cursor else 0

    def add(self, line: int, fields: list[str]) -> None:
        """Take one row; `line` is where it begins."""
        self._position += 1
        fresh = self._position > self._import.cursor
        try:
            reader = _parse(fields, self._columns)
        except InvalidError as error:
            if fresh:
                self._errors.append(
                    ImportRowError(audience_import=self._import, line=line, code=error.code, detail=error.detail[:300])
                )
            return
        mark = int.from_bytes(hashlib.blake2b(reader.who.key.encode(), digest_size=16).digest(), "big")
        if mark in self._seen:
            self._duplicates += fresh
            return
        self._seen.add(mark)
        if fresh:
            self._readers[reader.who.key] = reader

    def commit(self, lease: timedelta) -> None:
        """Write the gathered rows, their outcome and the new cursor in one transaction.

        Raises ChunkTakenError when another worker has moved the cursor.
        """
        before = self._import.cursor
        with transaction.atomic():
            # The row's lock makes a worker that lost its lease wait here, and then find the cursor moved.
            own = Import.objects.filter(pk=self._import.pk, state=ImportState.RUNNING, cursor=before)
            if not own.select_for_update().exists():
                raise ChunkTakenError
            counts = self._store()
            ImportRowError.objects.bulk_create(self._errors)
            own.update(
                cursor=max(before, self._position),
                lease_until=Now() + lease,
                added=F("added") + counts["added"],
                already_present=F("already_present") + counts["already_present"],
                refused=F("refused") + counts["refused"],
                duplicates=F("duplicates") + self._duplicates,
                invalid=F("invalid") + len(self._errors),
            )
        self._import.cursor = max(before, self._position)
        self._clear()

    def _clear(self) -> None:
        self._readers: dict[str, Reader] = {}
        self._errors: list[ImportRowError] = []
        self._duplicates = 0

    def _store(self) -> Counter[str]:
        # In one order everywhere, so that two imports with the same readers cannot block each other.
        readers = [self._readers[key] for key in sorted(self._readers)]
        suppressed = self._suppressed(readers)
        wanted = [reader for reader in readers if reader.who.digest not in suppressed]
        known, new = self._subscribers(wanted)
        states = dict(
            Subscription.objects.filter(newsletter=self._newsletter, subscriber__in=known.values()).values_list(
                "subscriber_id", "state"
            )
        )
        everybody = known | new
        absent = [pk for reader in wanted if (pk := everybody[reader.who.key]) not in states]
        added = self._subscribe(absent)
        left = sum(state == SubscriptionState.UNSUBSCRIBED for state in states.values())
        return Counter(
            added=added,
            refused=len(readers) - len(wanted) + left,
            already_present=len(wanted) - added - left,
        )

    def _suppressed(self, readers: list[Reader]) -> set[bytes]:
        found = Suppression.objects.filter(
            publisher=self._newsletter.publisher_id, address_digest__in=[reader.who.digest for reader in readers]
        )
        return {bytes(digest) for digest in found.values_list("address_digest", flat=True)}

    def _subscribers(self, wanted: list[Reader]) -> tuple[dict[str, int], dict[str, int]]:
        """Return the ids of the readers that were known and of those just added, by key."""
        publisher = self._newsletter.publisher_id
        known = dict(
            Subscriber.objects.filter(
                publisher=publisher, address_key__in=[reader.who.key for reader in wanted]
            ).values_list("address_key", "pk")
        )
        missing = [
            Subscriber(
                publisher_id=publisher,
                address=reader.who.address,
                address_key=reader.who.key,
                address_digest=reader.who.digest,
                name=reader.name,
                attributes=reader.attributes,
            )
            for reader in wanted
            if reader.who.key not in known
        ]
        # Somebody may add the same reader at this moment; the empty change makes the database return that row's id.
        created = Subscriber.objects.bulk_create(
            missing,
            update_conflicts=True,
            unique_fields=["publisher", "address_key"],
            update_fields=["address_key"],
        )
        return known, {subscriber.address_key: subscriber.pk for subscriber in created}

    def _subscribe(self, subscriber_ids: Collection[int]) -> int:
        """Make these readers active, except whom somebody else has entered meanwhile; return how many."""
        subscriptions = [
            Subscription(subscriber_id=pk, newsletter=self._newsletter, state=SubscriptionState.ACTIVE)
            for pk in subscriber_ids
        ]
        Subscription.objects.bulk_create(subscriptions, ignore_conflicts=True)
        stored = Subscription.objects.filter(newsletter=self._newsletter, subscriber__in=subscriber_ids)
        ours = {subscription.public_id for subscription in subscriptions}
        inserted = [pk for pk, public_id in stored.values_list("pk", "public_id") if public_id in ours]
        detail = f"{self._import.uid}: {self._import.consent_source}"
        ConsentEvent.objects.bulk_create(
            ConsentEvent(subscription_id=pk, state=SubscriptionState.ACTIVE, source="import", detail=detail)
            for pk in inserted
        )
        return len(inserted)


def _parse(fields: list[str], columns: Columns) -> Reader:
    """Return what a row says; raises InvalidError."""
    if len(fields) != columns.count:
        raise invalid_field("", "wrong_field_count", f"The row has {len(fields)} fields, the header {columns.count}.")
    attributes = {name: value for place, name in columns.attributes if (value := fields[place].strip())}
    return Reader(
        who=canonical(fields[columns.email].strip()),
        name=checked_name(fields[columns.name]) if columns.name is not None else "",
        attributes=checked_attributes(attributes) if attributes else attributes,
    )
