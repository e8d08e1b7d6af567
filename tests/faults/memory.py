"""F39: a worker's memory does not grow with the audience. `make soak-memory` runs it, `make test` does not.

COURANT_SOAK_READERS is the size of the audience. After COURANT_SOAK_SECONDS (0: never) the issue is cancelled, which
leaves the ledger as large as it is and shows the same of memory. COURANT_SOAK_BROKER is rabbitmq or redis.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from benchmarks.seeding import add_readers
from benchmarks.servers import PlainSink, running
from tests.services import editor
from tests.services.accounting import check_equation
from tests.services.postgresql import Postgresql
from tests.services.processes import wait_until
from tests.services.site import Site

READERS = int(os.environ.get("COURANT_SOAK_READERS", "2000000"))
SECONDS = float(os.environ.get("COURANT_SOAK_SECONDS", "0"))
BROKER = os.environ.get("COURANT_SOAK_BROKER", "rabbitmq")
# Nearly the longest body that the API takes; a mail has it twice, as HTML and as text.
GREETING = "How is the weather in {{ subscriber.city | default: 'town' }}, {{ subscriber.name | default: 'you' }}?\n\n"
SENTENCE = "The town council has met again, and this is what it has said of the bridge and of the mill. "
BODY = GREETING * 100 + (SENTENCE * 10 + "\n\n") * 530
MOST_MEGABYTES = 300
MOST_GROWTH = 30
# The product's own instead of the suite's short ones.
DEFAULTS = ("DELIVERY_LEASE_SECONDS", "DELIVERY_SLICE_SECONDS", "RETRY_SCALE_PERCENT")


def megabytes_of(group: int) -> float:
    """Return the resident memory of the largest process of a group."""
    return max(
        (_resident(stat.parent) for stat in Path("/proc").glob("[0-9]*/stat") if _group(stat) == group), default=0
    )


def _group(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[2])
    except OSError:
        return 0


def _resident(process: Path) -> float:
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0)


def send(site: Site) -> str:
    """Send a large issue to all readers and return its id."""
    newsletter_id = editor.make_newsletter(site)
    with psycopg.connect(site.environment["DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute("SELECT id FROM newsletters_newsletter").fetchone()
        assert row is not None
        add_readers(connection, row[0], readers=READERS, prefix="soak")
    issue_id = editor.write_issue(site, newsletter_id, body=BODY)
    site.start_worker()
    assert site.send_issue(issue_id).status == 202
    return issue_id


def test_f39_a_workers_memory_does_not_grow_with_the_audience(
    make_site: Callable[..., Site], postgresql: Postgresql
) -> None:
    with running(PlainSink()) as sink:
        site = make_site(BROKER, EMAIL_URL=sink.url, LOG_LEVEL="WARNING", **dict.fromkeys(DEFAULTS, ""))
        site.start_web()
        issue_id = send(site)
        (worker,) = site.workers
        began, seen = time.monotonic(), []
        while (progress := site.ask("GET", f"/issues/{issue_id}/progress"))["state"] == "sending":
            seen.append(megabytes_of(worker.program.pid))
            if SECONDS and time.monotonic() - began > SECONDS and progress["audience"] == READERS:
                site.ask("POST", f"/issues/{issue_id}/cancel")
                break
            time.sleep(1)
        seconds = time.monotonic() - began

        def closed() -> bool:
            return site.ask("GET", f"/issues/{issue_id}/progress")["finished_at"] is not None

        wait_until(closed, "every delivery is closed", seconds=600, pause=1)
        progress = site.ask("GET", f"/issues/{issue_id}/progress")
        seen.append(megabytes_of(worker.program.pid))
    quarter = len(seen) // 4
    early, late = statistics.median(seen[quarter : 2 * quarter]), statistics.median(seen[-quarter:])
    print(  # noqa: T201
        f"{progress['audience']} readers, {progress['sent']} mails in {seconds:.0f} s; memory of a worker process: "
        f"{early:.0f} MB in the second quarter, {late:.0f} MB in the last, at most {max(seen):.0f} MB"
    )
    check_equation(progress)
    assert progress["audience"] == READERS == progress["sent"] + progress["cancelled"]
    assert worker.restarts == 0
    assert max(seen) <= MOST_MEGABYTES
    assert late - early <= MOST_GROWTH
