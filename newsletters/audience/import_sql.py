"""The bulk statements of an import in two dialects with one meaning.

Building the statements for three tables by bulk_create takes five times as long as running them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from core.public_ids import uuid7

# Ordered by address everywhere, so that two imports with the same readers cannot block each other.
_ADD_SUBSCRIBERS = {
    "postgresql": """
        INSERT INTO newsletters_subscriber (
            public_id, publisher_id, address, address_key, address_digest, name, attributes, updated_at
        )
        SELECT public_id, %s, address, key, decode(digest, 'hex'), name, attributes, STATEMENT_TIMESTAMP()
        FROM json_to_recordset(%s::json)
            AS given(public_id uuid, address text, key text, digest text, name text, attributes jsonb)
        ORDER BY key
        ON CONFLICT (publisher_id, address_key) DO NOTHING""",
    "sqlite": """
        INSERT INTO newsletters_subscriber (
            public_id, publisher_id, address, address_key, address_digest, name, attributes, updated_at
        )
        VALUES (%s, %s, %s, %s, %s, %s, %s, strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now'))
        ON CONFLICT (publisher_id, address_key) DO NOTHING""",
}
_GIVEN = {
    "postgresql": "json_to_recordset(%s::json) AS given(key text, subscription uuid)",
    "sqlite": "(SELECT value ->> 'key' AS key, value ->> 'subscription' AS subscription FROM json_each(%s)) AS given",
}
_COUNT_LEFT = """
    SELECT count(*) FROM {given}
    JOIN newsletters_subscriber reader ON reader.publisher_id = %s AND reader.address_key = given.key
    JOIN newsletters_subscription place ON place.subscriber_id = reader.id AND place.newsletter_id = %s
    WHERE place.state = 'unsubscribed'"""
_ADD_SUBSCRIPTIONS = """
    INSERT INTO newsletters_subscription (public_id, subscriber_id, newsletter_id, state)
    SELECT given.subscription, reader.id, %s, 'active' FROM {given}
    JOIN newsletters_subscriber reader ON reader.publisher_id = %s AND reader.address_key = given.key
    WHERE true
    ORDER BY given.key
    ON CONFLICT (subscriber_id, newsletter_id) DO NOTHING"""
_LOG = """
    INSERT INTO newsletters_consentevent (subscription_id, state, source, detail)
    SELECT place.id, 'active', 'import', %s FROM {given}
    JOIN newsletters_subscription place ON place.public_id = given.subscription"""


@dataclass(frozen=True)
class NewReader:
    """What a row of the file says about a reader whose address may be mailed."""

    address: str
    key: str
    digest: bytes
    name: str
    attributes: dict[str, Any]


def suppressed_among(publisher_id: int, digests: Sequence[bytes]) -> set[bytes]:
    """Return those of the digests that a publisher must not mail."""
    postgresql = connection.vendor == "postgresql"
    member = "= ANY(%s)" if postgresql else f"IN ({', '.join(['%s'] * len(digests))})"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT address_digest FROM newsletters_suppression WHERE publisher_id = %s AND address_digest {member}",  # noqa: S608  # only placeholders are added
            [publisher_id, list(digests)] if postgresql else [publisher_id, *digests],
        )
        return {bytes(digest) for (digest,) in cursor.fetchall()}


def add_readers(publisher_id: int, newsletter_id: int, readers: Sequence[NewReader], *, detail: str) -> tuple[int, int]:
    """Make the readers active who are not in the newsletter yet, with their consent events.

    Returns how many were added, and how many left earlier and therefore were not. To be called within
    a transaction, at most once for each address in it.
    """
    if not readers:
        return 0, 0
    given = json.dumps([{"key": reader.key, "subscription": uuid7().hex} for reader in readers])
    source = _GIVEN[connection.vendor]
    with connection.cursor() as cursor:
        _add_subscribers(cursor, publisher_id, readers)
        cursor.execute(_COUNT_LEFT.format(given=source), [given, publisher_id, newsletter_id])
        (left,) = cursor.fetchone()
        cursor.execute(_ADD_SUBSCRIPTIONS.format(given=source), [newsletter_id, given, publisher_id])
        added = max(cursor.rowcount, 0)
        cursor.execute(_LOG.format(given=source), [detail, given])
    return added, left


def _add_subscribers(cursor: Any, publisher_id: int, readers: Sequence[NewReader]) -> None:
    statement = _ADD_SUBSCRIBERS[connection.vendor]
    if connection.vendor == "postgresql":
        rows = [
            {
                "public_id": uuid7().hex,
                "address": reader.address,
                "key": reader.key,
                "digest": reader.digest.hex(),
                "name": reader.name,
                "attributes": reader.attributes,
            }
            for reader in readers
        ]
        cursor.execute(statement, [publisher_id, json.dumps(rows)])
        return
    # SQLite cannot turn text into bytes before 3.41.
    cursor.executemany(
        statement,
        [
            (
                uuid7().hex,
                publisher_id,
                reader.address,
                reader.key,
                reader.digest,
                reader.name,
                json.dumps(reader.attributes),
            )
            for reader in sorted(readers, key=lambda reader: reader.key)
        ],
    )
