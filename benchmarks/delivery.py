"""How fast an issue is delivered: PostgreSQL with default durability, a real broker, Postfix's smtp-sink.

`python -m benchmarks.delivery --readers 20000 --broker rabbitmq` prints deliveries a second from `send`
to `sent`, and beside it what Postfix's own `smtp-source` reaches into the same sink on this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.services.environment import clean_environment
from tests.services.postgresql import Postgresql
from tests.services.processes import Program, Service, answers, find_program, wait_until
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.site import Site

PARAGRAPH = "It was a quiet week in which nothing was lost, and every reader was accounted for. "
BODY = '# The week\n\nDear {{ subscriber.name | default: "reader" }},\n\n' + (PARAGRAPH * 3 + "\n\n") * 3
SEED = """
WITH s AS (
    INSERT INTO newsletters_subscriber
        (public_id, publisher_id, address, address_key, address_digest, name, attributes, updated_at)
    SELECT gen_random_uuid(), n.publisher_id, 'reader-' || g || '@example.org', 'reader-' || g || '@example.org',
        sha256(('reader-' || g)::bytea), 'Reader ' || g, '{}', now()
    FROM newsletters_newsletter n, generate_series(1, %(readers)s) g WHERE n.id = %(newsletter)s
    RETURNING id),
b AS (
    INSERT INTO newsletters_subscription (public_id, subscriber_id, newsletter_id, state)
    SELECT gen_random_uuid(), s.id, %(newsletter)s, 'active' FROM s ORDER BY s.id RETURNING id)
INSERT INTO newsletters_consentevent (subscription_id, state, source, detail)
SELECT b.id, 'active', 'benchmark', '' FROM b
"""


class PlainSink(Service):
    """Postfix's smtp-sink that throws every mail away, counting nothing: the fastest taker there is."""

    name = "plain-sink"

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [find_program("smtp-sink", "postfix"), f"127.0.0.1:{self.port}", "1024"]
        command[1:1] = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.program = Program(command, log=self.folder / "sink.log", environment=os.environ)
        self.program.wait_ready(lambda: answers(self.port), seconds=20)


@contextmanager
def running(service: Any) -> Iterator[Any]:
    try:
        service.start()
        yield service
    finally:
        service.stop()


def peak_rss_mb(folder: Path) -> list[float]:
    """Return the peak resident memory in MiB of each worker process whose environment names this folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"HOME={folder}".encode() in (process / "environ").read_bytes().split(b"\0"):
                status = (process / "status").read_text()
                command = (process / "cmdline").read_bytes()
                if b"dramatiq" in command:
                    found.append(int(status.split("VmHWM:")[1].split()[0]) / 1024)
        except OSError:
            continue
    return sorted(found, reverse=True)


def machine_limit(sink: PlainSink, *, mails: int, size: int) -> float:
    """Return the mails a second that Postfix's own client sends into the same sink."""
    source = find_program("smtp-source", "postfix")
    command = [source, "-d", "-s", "8", "-l", str(size), "-m", str(mails), f"127.0.0.1:{sink.port}"]
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=os.environ)  # noqa: S603  # our own command
    return mails / (time.monotonic() - started)


def prepare(site: Site, server: Postgresql, database: str, *, readers: int) -> tuple[str, int]:
    """Make a newsletter with active readers and a draft; returns the issue's public id and row id."""
    sender = {"slug": "bench", "name": "Bench", "from_address": "news@gazette.example", "postal_address": "1 Road"}
    newsletter = site.ask("POST", "/newsletters", sender)
    with server.connect(database) as connection:
        connection.autocommit = True
        row = connection.execute("SELECT id FROM newsletters_newsletter").fetchone()
        assert row is not None
        connection.execute(SEED, {"readers": readers, "newsletter": row[0]})
        connection.execute("VACUUM ANALYZE")
    issue = site.ask("POST", f"/newsletters/{newsletter['id']}/issues", {"subject": "The week", "body": BODY})
    with server.connect(database) as connection:
        found = connection.execute("SELECT id FROM newsletters_issue").fetchone()
    assert found is not None
    return issue["id"], found[0]


def deliver(site: Site, server: Postgresql, database: str, issue: tuple[str, int]) -> dict[str, float]:
    """Send the issue and wait until it is sent; returns seconds and counts from the database's own clock."""
    public_id, pk = issue
    with server.connect(database) as connection:
        connection.autocommit = True
        before = time.monotonic()
        answer = site.send_issue(public_id)
        posted = time.monotonic() - before
        assert answer.status < 300, answer.body  # noqa: PLR2004

        def sent() -> bool:
            row = connection.execute("SELECT state FROM newsletters_issue WHERE id = %s", [pk]).fetchone()
            return row == ("sent",)

        wait_until(sent, "the issue is sent", seconds=1800, pause=0.05)
        row = connection.execute(
            "SELECT extract(epoch FROM i.finished_at - i.started_at), count(d.*), "
            "extract(epoch FROM min(d.intent_at) - i.started_at) FROM newsletters_issue i "
            "JOIN newsletters_delivery d ON d.issue_id = i.id AND d.state = 'sent' WHERE i.id = %s GROUP BY i.id",
            [pk],
        ).fetchone()
    assert row is not None
    return {"seconds": float(row[0]), "sent": row[1], "first": float(row[2]), "post": posted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=20_000)
    parser.add_argument("--broker", choices=["rabbitmq", "redis"], default="rabbitmq")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    # Ended from outside, it must still end the servers that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with ExitStack() as stack:
        os.environ.update(clean_environment())
        server = stack.enter_context(running(Postgresql(durable=True)))
        broker = stack.enter_context(running(Rabbitmq() if options.broker == "rabbitmq" else RedisServer()))
        sink = stack.enter_context(running(PlainSink()))
        site = Site(
            database_url=server.create_database("bench"),
            broker_url=broker.url,
            email_url=sink.url,
            WORKER_PROCESSES=str(options.processes),
            DELIVERY_LEASE_SECONDS="60",
            DELIVERY_SLICE_SECONDS="20",
            LOG_LEVEL="WARNING",
        )
        stack.callback(site.stop)
        site.set_up()
        site.start_web()
        issue = prepare(site, server, "bench", readers=options.readers)
        site.start_worker()
        time.sleep(8)
        result = deliver(site, server, "bench", issue)
        rate = result["sent"] / result["seconds"]
        limit = machine_limit(sink, mails=options.readers, size=4_000)
        print(f"readers               {result['sent']}")
        print(f"POST send             {result['post'] * 1000:.0f} ms")
        print(f"first mail after      {result['first']:.2f} s")
        print(f"send to sent          {result['seconds']:.2f} s")
        print(f"deliveries a second   {rate:.0f}")
        print(f"smtp-source a second  {limit:.0f}  (ratio {rate / limit:.2f})")
        print("worker peak RSS       " + ", ".join(f"{size:.0f} MiB" for size in peak_rss_mb(site.folder)))


if __name__ == "__main__":
    main()
