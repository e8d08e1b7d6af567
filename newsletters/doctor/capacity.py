"""Whether the database has as many connections as web and workers take, and the system as many files as lanes.

Web: each gunicorn thread keeps one (CONN_MAX_AGE), and the writer of the request log. A worker process: each
Dramatiq thread, the ledger, the courier's database thread, the clock and the restore guard keep one each.
"""

from __future__ import annotations

import datetime
import resource
from collections.abc import Iterator

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils.module_loading import import_string

from newsletters.delivery.roster import FRESH_SECONDS
from newsletters.doctor.findings import Finding, Terms, error, note, ok, warning
from newsletters.models import ActiveCourier

# The writer of the request log.
OWN_THREADS_OF_WEB = 1
# Ledger, courier's database thread, clock, restore guard.
OWN_THREADS_OF_A_WORKER = 4
# A command such as this one, and a migration.
COMMANDS = 2
# Libraries, sockets of the broker and the database, log files.
OTHER_FILES = 64
_LIMITS = """
SELECT current_setting('max_connections')::int,
       current_setting('superuser_reserved_connections')::int
       + coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
       r.rolconnlimit, r.rolsuper, d.datconnlimit, current_user, current_database(),
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
            AND (datname IS DISTINCT FROM current_database() OR usename IS DISTINCT FROM current_user))
FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()
"""


def wanted(*, couriers: int) -> tuple[int, str]:
    """Return how many connections this installation keeps open, and the sum in words.

    `couriers` is the number of worker processes seen at work, on all machines; at least this machine's count.
    """
    processes, threads = import_string("config.gunicorn.workers"), import_string("config.gunicorn.threads")
    workers = max(couriers, settings.WORKER_PROCESSES)
    of_worker = settings.WORKER_THREADS + OWN_THREADS_OF_A_WORKER
    total = processes * (threads + OWN_THREADS_OF_WEB) + workers * of_worker + COMMANDS
    web = f"web {processes} x ({threads} + {OWN_THREADS_OF_WEB})"
    of_workers = f"workers {workers} x ({settings.WORKER_THREADS} + {OWN_THREADS_OF_A_WORKER})"
    return total, f"{web}, {of_workers}, commands {COMMANDS}"


def connections(_terms: Terms) -> Iterator[Finding]:
    """Compare what the processes keep open with what the server, the database and the role allow."""
    if connection.vendor != "postgresql":
        return
    if settings.DATABASES["default"].get("CONN_MAX_AGE") == 0:
        yield note("database.connections_pooled", "How many connections there are is the pooler's business.")
        return
    with connection.cursor() as cursor:
        cursor.execute(_LIMITS)
        most, reserved, of_role, is_superuser, of_database, role, database, others = cursor.fetchone()
    need, words = wanted(couriers=_couriers())
    quote = connection.ops.quote_name
    grow = f"ALTER SYSTEM SET max_connections = {most + need}; and restart the server."
    limits = {
        "max_connections": (most - (0 if is_superuser else reserved) - others, grow),
        "role_connections": (of_role, f"ALTER ROLE {quote(role)} CONNECTION LIMIT {need};"),
        "database_connections": (of_database, f"ALTER DATABASE {quote(database)} CONNECTION LIMIT {need};"),
    }
    # A negative limit of a role or a database is none.
    short = [name for name, (allowed, _) in limits.items() if allowed < need and (allowed >= 0 or name == _OF_SERVER)]
    for name in short:
        allowed, remedy = limits[name]
        yield error(
            f"database.too_few_{name}",
            f"{need} connections are wanted ({words}), but {_WORDS[name]} {max(allowed, 0)}.",
            f"{remedy} Or lower WEB_CONCURRENCY, WEB_THREADS, WORKER_PROCESSES or WORKER_THREADS.",
        )
    if not short:
        free = limits[_OF_SERVER][0]
        yield ok("database.connections", f"{need} connections are wanted ({words}), and {free} may be had.")


_OF_SERVER = "max_connections"
_WORDS = {
    "max_connections": "beside reserved ones and those of others the server has",
    "role_connections": "the role may have",
    "database_connections": "the database may have",
}


def _couriers() -> int:
    """Return how many worker processes are alive on all machines; 0 before the first migration."""
    if "newsletters_activecourier" not in connection.introspection.table_names():
        return 0
    fresh = datetime.timedelta(seconds=FRESH_SECONDS)
    return ActiveCourier.objects.filter(seen_at__gt=Now() - fresh).count()


def files(_terms: Terms) -> Iterator[Finding]:
    """Compare how many files a process may open with how many connections it wants to hold."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = settings.DELIVERY_LANES + settings.WORKER_THREADS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < need:
        yield warning(
            "work.too_few_files",
            f"A process may open {soft} files here; one with {settings.DELIVERY_LANES} lanes needs about {need}.",
            f"Start the workers with `ulimit -n {max(1024, need)}` (systemd: LimitNOFILE=), or lower DELIVERY_LANES.",
        )
