"""PostgreSQL: whether a commit survives, what the role may do, and what keeps vacuum from its work.

Each function finds nothing on SQLite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from newsletters.doctor.findings import Finding, Terms, error, note, ok, warning

OLD_TRANSACTION_SECONDS = 300
DEAD_ROWS = 100_000
_SETTINGS = """
SELECT name, setting, source, current_user, current_database() FROM pg_settings WHERE name = ANY(%s)
"""
_HOLDERS = """
SELECT 'process ' || pid, coalesce(usename::text, '?'), extract(epoch FROM now() - xact_start)::int,
       'SELECT pg_terminate_backend(' || pid || ');'
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < now() - make_interval(secs => %s)
UNION ALL
SELECT 'prepared transaction ' || gid, owner::text, extract(epoch FROM now() - prepared)::int,
       'ROLLBACK PREPARED ' || quote_literal(gid) || ';'
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < now() - make_interval(secs => %s)
ORDER BY 3 DESC LIMIT 5
"""
_HIDDEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usename <> current_user AND xact_start IS NULL
      AND query = '<insufficient privilege>'
"""
_STATISTICS = "SELECT n_live_tup, n_dead_tup FROM pg_stat_user_tables WHERE relid = to_regclass('newsletters_delivery')"


@dataclass(frozen=True)
class _Setting:
    """A server setting as this session sees it, and how to change it where it was set."""

    name: str
    value: str
    source: str
    role: str
    database: str

    def remedy(self, value: str) -> str:
        quote = connection.ops.quote_name
        role, database = quote(self.role), quote(self.database)
        if self.source == "user":
            return f"ALTER ROLE {role} RESET {self.name}; then restart web and workers."
        if self.source == "database":
            return f"ALTER DATABASE {database} RESET {self.name}; then restart web and workers."
        if self.source == "database user":
            return f"ALTER ROLE {role} IN DATABASE {database} RESET {self.name}; then restart web and workers."
        if self.source == "client":
            return f"Remove {self.name} from DATABASE_URL's options and from PGOPTIONS."
        if self.source == "command line":
            return f"Start the server without -c {self.name}={self.value}."
        return f"ALTER SYSTEM SET {self.name} = '{value}'; SELECT pg_reload_conf();"


def _read_settings(*names: str) -> dict[str, _Setting]:
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS, [list(names)])
        return {row[0]: _Setting(*row) for row in cursor.fetchall()}


def durability(_terms: Terms) -> Iterator[Finding]:
    """Look at what a commit is worth in the sessions that Courant opens."""
    if connection.vendor != "postgresql":
        return
    harms = {
        "fsync": "after a power failure the database may be corrupt and mails counted as sent may go out again",
        "full_page_writes": "a page that was half written at a power failure cannot be repaired",
        "synchronous_commit": "commits of the last moment are lost in a crash, and their mails go out again unflagged",
    }
    found = _read_settings(*harms, "data_checksums")
    bad = [name for name in harms if found[name].value == "off"]
    for name in bad:
        yield error(f"database.{name}_off", f"{name} is off: {harms[name]}.", found[name].remedy("on"))
    if not bad:
        values = ", ".join(f"{name} = {found[name].value}" for name in harms)
        yield ok("database.durable", f"A commit is on disk: {values}.")
    if found["data_checksums"].value == "off":
        yield note(
            "database.no_checksums",
            "Data checksums are off: a disk that returns wrong bytes is not noticed.",
            "With the server stopped: pg_checksums --enable --pgdata …",
        )
    yield from _read_only()


def _read_only() -> Iterator[Finding]:
    # Our own transaction is read-only in any case.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')")
        in_recovery, read_only = cursor.fetchone()
    if in_recovery:
        yield error(
            "database.standby",
            "This server is a standby, which takes no writes.",
            "Let DATABASE_URL name the primary, or promote this one: SELECT pg_promote();",
        )
    elif read_only == "on":
        setting = _read_settings("default_transaction_read_only")["default_transaction_read_only"]
        yield error("database.read_only", "Sessions are read-only.", setting.remedy("off"))


def housekeeping(_terms: Terms) -> Iterator[Finding]:
    """Look at what ends frozen sessions and removes dead rows."""
    if connection.vendor != "postgresql":
        return
    found = _read_settings("idle_in_transaction_session_timeout", "autovacuum", "track_counts")
    idle = found["idle_in_transaction_session_timeout"]
    if int(idle.value) == 0:
        yield warning(
            "database.idle_unbounded",
            "idle_in_transaction_session_timeout is 0: a frozen process holds its row locks for ever.",
            f"ALTER ROLE {connection.ops.quote_name(idle.role)} SET {idle.name} = '60s'; then restart web and workers.",
        )
    else:
        yield ok("database.idle_bounded", f"A session that freezes in a transaction ends after {idle.value} ms.")
    for name in ("autovacuum", "track_counts"):
        if found[name].value == "off":
            yield warning(
                f"database.{name}_off",
                f"{name} is off: dead rows stay for ever, and claims become slow.",
                found[name].remedy("on"),
            )


def rights(_terms: Terms) -> Iterator[Finding]:
    """Look at what the role may do beyond its own tables."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_database_privilege(current_database(), 'TEMPORARY'), current_user, current_database()"
        )
        may, role, database = cursor.fetchone()
    if may:
        yield ok("database.temporary", f"The role {role} may make temporary tables, which imports need.")
    else:
        quote = connection.ops.quote_name
        yield error(
            "database.no_temporary",
            f"The role {role} may not make temporary tables: every import fails.",
            f"GRANT TEMPORARY ON DATABASE {quote(database)} TO {quote(role)};",
        )


def pooler(_terms: Terms) -> Iterator[Finding]:
    """Look for a pooler on the way: it makes up the process number that a session is told at its start."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (actual,) = cursor.fetchone()
    told = connection.connection.info.backend_pid
    declared = settings.DATABASES["default"].get("CONN_MAX_AGE") == 0
    if told != actual and not declared:
        yield warning(
            "database.pooler_undeclared",
            "DATABASE_URL leads through a pooler, and DATABASE_POOLER is 0.",
            "Set DATABASE_POOLER=1 if it pools transactions (pool_mode = transaction); session pooling needs nothing.",
        )
    elif told == actual and declared:
        yield note(
            "database.pooler_absent",
            "DATABASE_POOLER is 1, but DATABASE_URL leads straight to the server: each request connects anew.",
            "Set DATABASE_POOLER=0, or let DATABASE_URL lead to the pooler.",
        )
    else:
        yield ok("database.pooler", "A pooler is on the way, as declared." if declared else "No pooler is on the way.")


def vacuum(_terms: Terms) -> Iterator[Finding]:
    """Look for what keeps dead rows of the ledger from being removed."""
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [OLD_TRANSACTION_SECONDS, OLD_TRANSACTION_SECONDS])
        holders = cursor.fetchall()
        cursor.execute(_HIDDEN)
        (hidden,) = cursor.fetchone()
        cursor.execute(_STATISTICS)
        live, dead = cursor.fetchone() or (0, 0)
    for what, owner, seconds, remedy in holders:
        yield warning(
            "database.long_transaction",
            f"The transaction of {what} ({owner}) is open for {seconds // 60} min: vacuum may have to leave dead rows.",
            remedy,
        )
    if not holders:
        yield ok("database.transactions", f"No transaction is older than {OLD_TRANSACTION_SECONDS // 60} minutes.")
    if hidden:
        yield note(
            "database.sessions_hidden",
            f"The age of {hidden} session(s) of other roles cannot be seen.",
            f"GRANT pg_read_all_stats TO {connection.ops.quote_name(connection.settings_dict['USER'])};",
        )
    if dead > max(DEAD_ROWS, 2 * live):
        yield warning(
            "database.dead_rows",
            f"newsletters_delivery has {dead:,} dead rows beside {live:,} live ones.",
            "VACUUM (ANALYZE) newsletters_delivery; and see that autovacuum runs.",
        )
