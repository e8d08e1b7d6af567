"""A stage for faults: one site with supervised workers, its servers, and everything that may happen to them.

Every act adds to `bound` how many second copies it may cause, by the rule of the two generals (RFC 1047): a
process that dies or sleeps past its lease may have one mail past the final dot on each of its connections; a
relay that takes a mail and does not answer causes one. All other faults cause none.
"""

from __future__ import annotations

import random
import re
import signal
import threading
import time
from collections.abc import Callable

import pika
import psycopg

from tests.faults import messages
from tests.services import editor
from tests.services.accounting import STATES, Account, account
from tests.services.postgresql import Postgresql
from tests.services.processes import wait_until
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer
from tests.services.sinks import SmtpSink
from tests.services.site import Site, Supervisor
from tests.services.tcp_proxy import TcpProxy

ADDRESS = re.compile(r"127\.0\.0\.1:\d+")
LANES = 8
# What the workers of a stage are told; readers of one domain are not paced. A lease lasts as long as by default: on a
# busy machine a worker may be late, and whoever is late past a lease may double mails that no fault accounts for.
SETTINGS = {
    "DELIVERY_LANES": str(LANES),
    "DELIVERY_LEASE_SECONDS": "60",
    "DESTINATION_PACING": "0",
    "LOG_LEVEL": "INFO",
}
LEASE_SECONDS = 10
# For scenarios in which somebody waits for the end of a lease.
SHORT_LEASE = {"DELIVERY_LEASE_SECONDS": str(LEASE_SECONDS)}
QUEUES = ("bulk", "default", "transactional")


class Stage:
    """A running site and the issue it sends. `bound` is the number of second copies that may have been caused."""

    def __init__(
        self, site: Site, *, sink: SmtpSink, database: Postgresql, broker: Rabbitmq | RedisServer, workers: int = 2
    ) -> None:
        self.site = site
        self.sink = sink
        self.database = database
        self.broker = broker
        self.lanes = int(site.environment["DELIVERY_LANES"])
        self.bound = 0
        self.newsletter_id = self.issue_id = ""
        self.expected: set[str] = set()
        self._is_slow = False
        site.start_web()
        for _ in range(workers):
            site.start_worker()

    # --- the issue ---------------------------------------------------------------------------------

    def prepare(self, readers: int, *, body: str = editor.BODY) -> None:
        """Make a newsletter with `reader-N@example.org` and write an issue."""
        self.newsletter_id = editor.make_newsletter(self.site)
        self.expected = editor.import_numbered_readers(self.site, self.newsletter_id, readers)
        self.issue_id = editor.write_issue(self.site, self.newsletter_id, body=body)

    def send(self) -> None:
        """Send the prepared issue."""
        assert self.site.send_issue(self.issue_id).status == 202

    def send_slowly(self, *, seconds: float = 0.3) -> None:
        """Send the prepared issue to a relay that takes so long for each reply, until `finish`.

        Faults meet mails in flight then, and not an issue that has ended before a busy test looked again.
        """
        self.sink.script({"*": {"delay": seconds}})
        self._is_slow = True
        self.send()

    def wait_until_all_deliver(self) -> None:
        """Return when every worker that was started is at work on the issue."""
        everyone = [(len(self.site.workers),)]
        at_work = "SELECT count(*) FROM newsletters_activecourier"
        wait_until(lambda: self.query(at_work) == everyone, "all workers deliver", seconds=300)

    def wait_for_mails(self, count: int, *, seconds: float = 300) -> None:
        """Return when the sink has taken so many mails."""
        wait_until(lambda: self.sink.count() >= count, f"{count} mails are out", seconds=seconds)

    def finish(self, *, seconds: float = 400) -> Account:
        """Wait until the issue is sent, and account for every reader: by the API, and by the rows themselves (F32)."""
        if self._is_slow:
            self.sink.script({})
        progress = self.site.wait_for_issue(self.issue_id, "sent", seconds=seconds)
        counted = self.query(
            "SELECT d.state, count(*) FROM newsletters_delivery d JOIN newsletters_issue i ON i.id = d.issue_id "
            "WHERE i.finished_at IS NOT NULL GROUP BY d.state"
        )
        assert {str(state): count for state, count in counted} == {
            state: progress[state] for state in STATES if progress[state]
        }
        return account(self.site, self.issue_id, self.sink, self.expected)

    @property
    def connections(self) -> int:
        """How many SMTP transactions may be open at once."""
        return self.lanes * len(self.site.workers)

    def rest(self, *, seconds: float = 0.3) -> None:
        """Let mails in flight arrive."""
        time.sleep(seconds)

    def wait_until_quiet(self, *, seconds: float = 3) -> int:
        """Return how many mails are out, once the relay has taken none for so long."""
        before = -1
        while before != (before := self.sink.count()):
            time.sleep(seconds)
        return before

    def wait_until_closed(self, *, seconds: float = 180) -> None:
        """Return when no delivery of the issue is open any more."""

        def closed() -> bool:
            progress = self.site.ask("GET", f"/issues/{self.issue_id}/progress")
            return not progress["queued"] + progress["sending"] and progress["finished_at"] is not None

        wait_until(closed, "every delivery is closed", seconds=seconds, pause=0.1)

    # --- workers -------------------------------------------------------------------------------------

    def kill_worker(self, number: int = 0) -> None:
        """SIGKILL a worker's whole process group; its supervisor starts it again at once."""
        worker = self.site.workers[number]
        before = worker.restarts
        self.bound += self.lanes
        worker.kill()
        wait_until(lambda: worker.restarts > before, "the worker runs again", seconds=60)

    def freeze_worker(self, number: int = 0, *, seconds: float = 1.6 * LEASE_SECONDS) -> None:
        """SIGSTOP a worker for so long, then let it go on."""
        group = self.site.workers[number].program
        self.bound += self.lanes
        group.send_group(signal.SIGSTOP)
        time.sleep(seconds)
        group.send_group(signal.SIGCONT)

    def terminate_worker(self, number: int = 0) -> None:
        """SIGTERM a worker's whole group, as a deployment does, and let its supervisor start it again."""
        worker: Supervisor = self.site.workers[number]
        before = worker.restarts
        worker.program.send_group(signal.SIGTERM)
        wait_until(lambda: worker.restarts > before, "the worker is replaced", seconds=180)

    def by_way_of(self, **proxies: TcpProxy) -> dict[str, str]:
        """Return variables with which a worker reaches servers through proxies: `by_way_of(DATABASE_URL=proxy)`."""
        own = self.site.environment
        return {name: ADDRESS.sub(f"{proxy.host}:{proxy.port}", own[name]) for name, proxy in proxies.items()}

    # --- broker --------------------------------------------------------------------------------------

    def wipe_broker(self) -> None:
        """Kill the broker, delete what it knew and start it again."""
        if isinstance(self.broker, Rabbitmq):
            self.broker.wipe()
        else:
            self.broker.restart()

    def stop_broker(self, *, seconds: float) -> None:
        """Kill the broker and start it again after so long."""
        self.broker.kill()
        time.sleep(seconds)
        self.broker.start()

    def freeze_broker(self, *, seconds: float) -> None:
        """SIGSTOP the broker for so long: its connections hang."""
        self.broker.running.send_group(signal.SIGSTOP)
        time.sleep(seconds)
        self.broker.running.send_group(signal.SIGCONT)

    def purge_broker(self) -> None:
        """Delete every queue, or every key, of a live broker."""
        if isinstance(self.broker, Rabbitmq):
            connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
            for name in QUEUES:
                connection.channel().queue_delete(name)
            connection.close()
        else:
            self.broker.flush()

    def publish_garbage(self) -> None:
        """Put on a queue what is no message, and doorbells of issues that do not exist."""
        garbage = {f"garbage-{number}": body for number, body in enumerate(messages.NOT_MESSAGES)}
        messages.publish(self.broker, garbage | messages.doorbells(messages.NOT_ISSUES))

    def double_doorbells(self, *, times: int = 20, actor: str = "deliver") -> None:
        """Ring for the issue again and again."""
        [(primary_key,)] = self.query("SELECT id FROM newsletters_issue")
        messages.publish(self.broker, messages.doorbells([int(str(primary_key))] * times, actor=actor))

    # --- database ------------------------------------------------------------------------------------

    def restart_database(self) -> None:
        """Restart PostgreSQL as `pg_ctl restart -m fast` does: sessions are ended, nothing is lost."""
        self.database.running.send(signal.SIGINT)
        self.database.running.wait(300)
        self.database.start()

    def kill_database(self) -> None:
        """SIGKILL the postmaster and all its backends, and start it again."""
        self.database.restart()

    def end_sessions(self, *, times: int = 20, pause: float = 0.05) -> None:
        """Terminate every session of the site, again and again: some in the middle of a COMMIT."""
        end = "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
        with self.database.connect() as connection:
            for _ in range(times):
                ended = [pid for pid, _ in connection.execute(end, [self.database_name])]
                time.sleep(pause)
            # One that has not noticed yet would take a request with it that is made after this act.
            wait_until(lambda: connection.execute(left, [ended]).fetchone() == (0,), "they have ended", seconds=60)

    def exhaust_connections(self, *, seconds: float = 3) -> None:
        """Leave the site three connections for so long."""
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = %s"
        with self.database.connect() as connection:
            connection.execute(f'ALTER DATABASE "{self.database_name}" CONNECTION LIMIT 3')
            self.end_sessions(times=3)
            time.sleep(seconds)
            found = connection.execute(sessions, [self.database_name]).fetchone()
            assert found is not None
            assert found[0] <= 3, "the limit holds nobody"
            connection.execute(f'ALTER DATABASE "{self.database_name}" CONNECTION LIMIT -1')

    @property
    def database_name(self) -> str:
        return self.site.environment["DATABASE_URL"].rpartition("/")[2]

    def query(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run one statement in the site's database, past the site itself."""
        with psycopg.connect(self.site.environment["DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    # --- relay ---------------------------------------------------------------------------------------

    def lose_replies(self, addresses: set[str]) -> None:
        """Make the relay take the mails of these readers and cut the connection instead of answering, once each."""
        self.bound += len(addresses)
        ordinary = {"delay": 0.01}
        self.sink.script({"*": ordinary} | {address: {"lose_reply": True, "times": 1} for address in addresses})

    def restart_relay(self, *, seconds: float = 0.5) -> None:
        """Kill the relay, losing every connection, and start it again after so long."""
        self.bound += self.connections
        self.sink.kill()
        time.sleep(seconds)
        self.sink.start()

    # --- people --------------------------------------------------------------------------------------

    def pause_and_resume(self, *, seconds: float = 0.3) -> None:
        """Pause the issue for so long; nothing happens when it has ended."""
        if self.site.call("POST", f"/issues/{self.issue_id}/pause").status < 400:
            time.sleep(seconds)
            self.site.ask("POST", f"/issues/{self.issue_id}/resume")


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Start an act beside what the test goes on to do."""
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def chance_of(seed: int) -> random.Random:
    """Return a generator for a schedule that can be repeated, and print its seed for a failed test."""
    print(f"seed {seed}")  # noqa: T201
    return random.Random(seed)  # noqa: S311
