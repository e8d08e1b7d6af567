"""Readers by the million, without the product's own import, which is measured apart."""

from __future__ import annotations

from typing import LiteralString

import psycopg

# Over 500 domains alike, or uneven: half of the list at two of them, which then take 20 mails at once each. The
# tarpit's readers change nothing in the mix of the others.
ADDRESS: LiteralString = """
    %(prefix)s || '-' || g || '@' || CASE
        WHEN g %% 5 = 0 AND %(tarpit)s::text IS NOT NULL THEN %(tarpit)s::text
        WHEN %(uneven)s AND o.n %% 10 IN (1, 3, 6) THEN 'largest.example.org'
        WHEN %(uneven)s AND o.n %% 10 IN (4, 8) THEN 'second.example.org'
        ELSE 'd' || o.n %% 500 || '.example.net' END
"""
# Ids are given out beforehand, so that the three tables are filled by three plain statements. Public ids
# ascend, as the product's own UUIDs of version 7 do.
READERS: LiteralString = (
    """
INSERT INTO newsletters_subscriber
    (id, public_id, publisher_id, address, address_key, address_digest, name, attributes, updated_at)
SELECT %(first)s + g, (lpad(to_hex(%(first)s + g), 32, '0'))::uuid, %(publisher)s, a.address, a.address,
    sha256(a.address::bytea), 'Reader ' || g, '{}', now()
FROM generate_series(1, %(readers)s) g,
    LATERAL (SELECT CASE WHEN %(tarpit)s::text IS NULL THEN g ELSE g - g / 5 END AS n) o, LATERAL (SELECT """
    + ADDRESS
    + """ AS address) a
"""
)
SUBSCRIPTIONS: LiteralString = """
INSERT INTO newsletters_subscription (id, public_id, subscriber_id, newsletter_id, state)
SELECT %(first)s + g, (lpad(to_hex(%(first)s + g), 32, '0'))::uuid, %(first)s + g, %(newsletter)s, 'active'
FROM generate_series(1, %(readers)s) g
"""
CONSENTS: LiteralString = """
INSERT INTO newsletters_consentevent (subscription_id, state, source, detail)
SELECT %(first)s + g, 'active', 'benchmark', '' FROM generate_series(1, %(readers)s) g
"""
FIRST_FREE: LiteralString = """
SELECT greatest((SELECT max(id) FROM newsletters_subscriber), (SELECT max(id) FROM newsletters_subscription), 0)
"""
SEQUENCES: LiteralString = """
SELECT setval(pg_get_serial_sequence('newsletters_subscriber', 'id'), %(last)s),
    setval(pg_get_serial_sequence('newsletters_subscription', 'id'), %(last)s)
"""


def add_readers(
    connection: psycopg.Connection,
    newsletter_id: int,
    *,
    readers: int,
    prefix: str,
    tarpit: str | None = None,
    uneven: bool = False,
) -> None:
    """Give a newsletter so many active readers, with new addresses; every fifth is at `tarpit` if there is one.

    With `uneven`, 30 % of the others are at one domain and 20 % at a second.
    """
    if readers == 0:
        return
    row = connection.execute(
        "SELECT publisher_id FROM newsletters_newsletter WHERE id = %s", [newsletter_id]
    ).fetchone()
    first = connection.execute(FIRST_FREE).fetchone()
    assert row is not None
    assert first is not None
    values = {
        "first": first[0],
        "publisher": row[0],
        "newsletter": newsletter_id,
        "readers": readers,
        "prefix": prefix,
        "tarpit": tarpit,
        "uneven": uneven,
    }
    with connection.transaction():
        # The rows refer to one another by construction: checking each key would take most of the time.
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in (READERS, SUBSCRIPTIONS, CONSENTS):
            connection.execute(statement, values)
        connection.execute(SEQUENCES, {"last": first[0] + readers})
    connection.execute("VACUUM ANALYZE newsletters_subscriber, newsletters_subscription, newsletters_consentevent")
