"""(j) A CSV file of a million good rows, from its upload to the end of its import."""

from __future__ import annotations

import time

from benchmarks.stage import Stage
from tests.services.processes import ServiceError, wait_until

LIMIT_SECONDS = 1200
ASK = "SELECT state, added, extract(epoch FROM finished_at) FROM newsletters_import"


def measure(stage: Stage) -> None:
    """Import into a database of its own, so that every round finds the same empty tables."""
    rows = stage.options.many_readers
    data = csv_file(rows)
    with stage.own_installation("imports", broker=stage.rabbitmq) as courant, courant.workers(warm=False):
        newsletter = courant.newsletter(0)
        path = f"/newsletters/{newsletter.uid}/imports?consent_source=benchmark"
        began = time.time()
        courant.site.ask("POST", path, data, headers={"Content-Type": "text/csv"})
        accepted = time.time()

        def ended() -> bool:
            return courant.ask(ASK)[0] in ("done", "failed")

        wait_until(ended, "the import has ended", seconds=LIMIT_SECONDS, pause=0.1)
        state, added, finished = courant.ask(ASK)
    if (state, added) != ("done", rows):
        raise ServiceError(f"the import is {state} and added {added} of {rows} readers")
    stage.figures.add("import_rows_per_s", rows / (float(finished) - accepted))
    stage.figures.add("import_upload_s", accepted - began)
    stage.figures.add("import_rows_per_s_with_upload", rows / (float(finished) - began))


def csv_file(rows: int) -> bytes:
    """Return a file of different, valid addresses with names, in the order of no index."""
    # Multiplying by a number that has no factor in common with `rows` visits every row once.
    step = next(candidate for candidate in (611_953, 7, 11, 13, 1) if rows % candidate)
    order = (number * step % rows for number in range(rows))
    lines = (f"r-{number}@d{number % 500}.example.net,Reader {number}\n" for number in order)
    return b"email,name\n" + "".join(lines).encode("ascii")
