"""The bulk statements of an import in two dialects with one meaning.

Readers come into a temporary table first. Where all of them are new, PostgreSQL needs one statement
for the rest: the ids that an INSERT returns go straight into the next, without a search for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection

from core.public_ids import many_uuid7

_COLUMNS = {
    "postgresql": "address text, key text, digest bytea, name text, attributes jsonb, reader_uid uuid, place_uid uuid",
    "sqlite": "address text, key text, digest blob, name text, attributes text, reader_uid text, place_uid text",
}
# OFFSET 0 keeps the planner from reading a large table whole because the temporary one is not analysed.
_REFUSE = """
    DELETE FROM incoming WHERE EXISTS (
        SELECT 1 FROM newsletters_suppression barred
        WHERE barred.publisher_id = %s AND barred.address_digest = incoming.digest {once})"""
_ADD_SUBSCRIBERS = """
    INSERT INTO newsletters_subscriber (
        public_id, publisher_id, address, address_key, address_digest, name, attributes, updated_at
    )
    SELECT reader_uid, %s, address, key, digest, name, attributes, {now} FROM incoming
    WHERE true
    ORDER BY key {binary}
    ON CONFLICT (publisher_id, address_key) DO NOTHING"""
_LOG = """
    INSERT INTO newsletters_consentevent (subscription_id, state, source, detail)
    SELECT {placed}, 'active', 'import', %s FROM """
_POSTGRESQL_NEW = f"""
    WITH made AS ({_ADD_SUBSCRIBERS.format(now="statement_timestamp()", binary='COLLATE "C"')}
        RETURNING id, public_id
    ), placed AS (
        INSERT INTO newsletters_subscription (public_id, subscriber_id, newsletter_id, state)
        SELECT incoming.place_uid, made.id, %s, 'active' FROM made JOIN incoming ON incoming.reader_uid = made.public_id
        RETURNING id
    ), logged AS ({_LOG.format(placed="id")} placed)
    SELECT count(*) FROM placed"""  # noqa: S608  # made of constants
# A statement of its own: only a later one sees a reader whom another import has added meanwhile.
_POSTGRESQL_KNOWN = f"""
    WITH known AS MATERIALIZED (
        SELECT incoming.key, incoming.place_uid, reader.id, there.state FROM incoming
        CROSS JOIN LATERAL (
            SELECT id FROM newsletters_subscriber WHERE publisher_id = %s AND address_key = incoming.key OFFSET 0
        ) reader
        LEFT JOIN LATERAL (
            SELECT state FROM newsletters_subscription WHERE subscriber_id = reader.id AND newsletter_id = %s OFFSET 0
        ) there ON true
    ), placed AS (
        INSERT INTO newsletters_subscription (public_id, subscriber_id, newsletter_id, state)
        SELECT place_uid, id, %s, 'active' FROM known WHERE state IS NULL ORDER BY key COLLATE "C"
        ON CONFLICT (subscriber_id, newsletter_id) DO NOTHING
        RETURNING id
    ), logged AS ({_LOG.format(placed="id")} placed)
    SELECT (SELECT count(*) FROM placed), (SELECT count(*) FROM known WHERE state = 'unsubscribed')"""  # noqa: S608  # made of constants
_SQLITE_COUNT_LEFT = """
    SELECT count(*) FROM incoming
    JOIN newsletters_subscriber reader ON reader.publisher_id = %s AND reader.address_key = incoming.key
    JOIN newsletters_subscription there ON there.subscriber_id = reader.id AND there.newsletter_id = %s
    WHERE there.state = 'unsubscribed'"""
_SQLITE_PLACE = """
    INSERT INTO newsletters_subscription (public_id, subscriber_id, newsletter_id, state)
    SELECT incoming.place_uid, reader.id, %s, 'active' FROM incoming
    JOIN newsletters_subscriber reader ON reader.publisher_id = %s AND reader.address_key = incoming.key
    WHERE true
    ORDER BY incoming.key
    ON CONFLICT (subscriber_id, newsletter_id) DO NOTHING"""
_SQLITE_LOG = f"""{_LOG.format(placed="there.id")} incoming
    JOIN newsletters_subscription there ON there.public_id = incoming.place_uid"""


class NewReader(NamedTuple):
    """What a row of the file says about a reader; `attributes` is JSON."""

    address: str
    key: str
    digest: bytes
    name: str
    attributes: str


class Outcome(NamedTuple):
    """How many readers were added, and how many must not be: suppressed, or gone from the newsletter."""

    added: int
    refused: int


def add_readers(publisher_id: int, newsletter_id: int, readers: Sequence[NewReader], *, detail: str) -> Outcome:
    """Make the readers active who may be mailed and are not in the newsletter, with their consent events.

    `readers` have each address once. To be called within a transaction.
    """
    if not readers:
        return Outcome(0, 0)
    postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE incoming ({_COLUMNS[connection.vendor]})")
        _fill(cursor, readers)
        cursor.execute(_REFUSE.format(once="OFFSET 0" if postgresql else ""), [publisher_id])
        suppressed = cursor.rowcount
        if postgresql:
            wanted = len(readers) - suppressed
            added, left = _add_on_postgresql(cursor, publisher_id, newsletter_id, wanted=wanted, detail=detail)
        else:
            added, left = _add_on_sqlite(cursor, publisher_id, newsletter_id, detail=detail)
        cursor.execute("DROP TABLE incoming")
    return Outcome(added, suppressed + left)


def _fill(cursor: Any, readers: Sequence[NewReader]) -> None:
    ids = zip(readers, many_uuid7(len(readers)), many_uuid7(len(readers)), strict=True)
    rows = ((*reader, reader_id, place_id) for reader, reader_id, place_id in ids)
    if connection.vendor == "sqlite":
        cursor.executemany("INSERT INTO incoming VALUES (%s, %s, %s, %s, %s, %s, %s)", list(rows))
        return
    with connection.wrap_database_errors, cursor.copy("COPY incoming FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _add_on_postgresql(
    cursor: Any, publisher_id: int, newsletter_id: int, *, wanted: int, detail: str
) -> tuple[int, int]:
    cursor.execute(_POSTGRESQL_NEW, [publisher_id, newsletter_id, detail])
    (new,) = cursor.fetchone()
    if new == wanted:
        return new, 0
    cursor.execute(_POSTGRESQL_KNOWN, [publisher_id, newsletter_id, newsletter_id, detail])
    known, left = cursor.fetchone()
    return new + known, left


def _add_on_sqlite(cursor: Any, publisher_id: int, newsletter_id: int, *, detail: str) -> tuple[int, int]:
    now = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now')"
    cursor.execute(_ADD_SUBSCRIBERS.format(now=now, binary=""), [publisher_id])
    cursor.execute(_SQLITE_COUNT_LEFT, [publisher_id, newsletter_id])
    (left,) = cursor.fetchone()
    cursor.execute(_SQLITE_PLACE, [newsletter_id, publisher_id])
    added = max(cursor.rowcount, 0)
    cursor.execute(_SQLITE_LOG, [detail])
    return added, left
