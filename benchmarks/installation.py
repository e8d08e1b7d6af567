"""One installation of Courant as the benchmarks use it: newsletters of any size, issues, workers."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, LiteralString

import psycopg

from benchmarks import processor
from benchmarks.seeding import add_readers
from tests.services.environment import ROOT
from tests.services.processes import ServiceError, wait_until
from tests.services.site import Site

# Two brokers' installations may share a database, and both number their newsletters.
_numbers = itertools.count(1)
PARAGRAPH = "It was a quiet week in which nothing was lost, and every reader was accounted for. "
# Short, since the product's own layout already makes a mail of more than 4 KB of it: text, HTML, a personal
# greeting and personal links.
BODY = (
    '# The week\n\nDear {{ subscriber.name | default: "reader" }},\n\n'
    + PARAGRAPH
    + "\n\n"
    + "[All issues](https://gazette.example/archive?a=1&b=2)\n"
)
# So few that no destination makes rows wait.
WARM_UP_READERS = 100
SENT = """
SELECT count(*), extract(epoch FROM i.finished_at), extract(epoch FROM min(d.settled_at))
FROM newsletters_issue i JOIN newsletters_delivery d ON d.issue_id = i.id AND d.state = 'sent'
WHERE i.id = %s GROUP BY i.id
"""


@dataclass(frozen=True)
class Row:
    """A row as the API and as the database know it."""

    uid: str
    pk: int


@dataclass(frozen=True)
class Sent:
    """How the sending of an issue went; seconds count from just before the request."""

    mails: int
    seconds: float
    post_seconds: float
    first_mail_seconds: float


class Installation:
    """`roots` names the process trees whose processor time counts: PostgreSQL, the broker, the sink."""

    def __init__(self, site: Site, connection: psycopg.Connection, roots: Mapping[str, int]) -> None:
        self.site = site
        self.connection = connection
        self.roots = dict(roots)
        self._warm_up: Row | None = None

    def newsletter(self, readers: int, *, tarpit: str | None = None, uneven: bool = False) -> Row:
        """Make a newsletter with so many active readers."""
        number = next(_numbers)
        fields = {"slug": f"list-{number}", "name": "The Weekly", "from_name": "The Gazette"}
        fields |= {"from_address": "news@gazette.example", "postal_address": "1 Printing House Square, London"}
        uid = self.site.ask("POST", "/newsletters", fields)["id"]
        made = Row(uid, self._newest("newsletters_newsletter"))
        prefix = f"reader-{number}"
        add_readers(self.connection, made.pk, readers=readers, prefix=prefix, tarpit=tarpit, uneven=uneven)
        return made

    def draft(self, newsletter: Row) -> Row:
        """Write an issue of 4 KB."""
        fields = {"subject": "What happened this week", "body": BODY}
        uid = self.site.ask("POST", f"/newsletters/{newsletter.uid}/issues", fields)["id"]
        return Row(uid, self._newest("newsletters_issue"))

    def _newest(self, table: str) -> int:
        row = self.connection.execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608  # our own name
        assert row is not None
        return int(row[0])

    def mail_facts(self, newsletter: Row) -> dict[str, float | str]:
        """Return what `benchmarks.mail_facts` finds out about an issue of this newsletter."""
        command = [sys.executable, "-m", "benchmarks.mail_facts", str(self.draft(newsletter).pk)]
        done = subprocess.run(  # noqa: S603  # our own command
            command, cwd=ROOT, env=self.site.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ServiceError(f"{' '.join(command)} ended with {done.returncode}\n{done.stderr}")
        found: dict[str, float | str] = json.loads(done.stdout)
        return found

    @contextlib.contextmanager
    def workers(self, *, warm: bool = True) -> Iterator[int]:
        """Run `manage.py worker`, ready and warm, and give its process id; it ends gracefully if all went well."""
        if warm and self._warm_up is None:
            self._warm_up = self.newsletter(WARM_UP_READERS)
        former = self._clock_holder()
        worker = self.site.start_worker()
        root = worker.program.pid
        try:
            self._wait_for_boot(root, former)
            if self._warm_up is not None:
                self.send(self.draft(self._warm_up))
            # A checkpoint that what came before has made due is not the measured part's.
            self.connection.execute("CHECKPOINT")
            yield root
        except BaseException:
            # Whoever interrupts a run does not wait for mails in flight.
            worker.end()
            raise
        worker.stop()

    def _wait_for_boot(self, root: int, former: object) -> None:
        try:
            wait_until(lambda: self._clock_holder() not in (None, former), "a clock ticks", seconds=60, pause=0.1)
            processor.wait_until_quiet(root)
        except ServiceError as error:
            raise ServiceError(f"{error}\n{self.site.logs()}") from error

    def _clock_holder(self) -> object:
        return self.ask("SELECT max(holder::text) FROM core_clocklease")[0]

    def post_send(self, issue: Row) -> tuple[float, float]:
        """Send an issue; return when the request began (seconds since the epoch) and what it took."""
        began, clock = time.time(), time.monotonic()
        answer = self.site.send_issue(issue.uid)
        took = time.monotonic() - clock
        if answer.status not in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise ServiceError(f"send: {answer.status} {answer.body.decode()}\n{self.site.logs()}")
        return began, took

    def send(self, issue: Row, *, seconds: float = 600) -> Sent:
        """Send an issue and wait until it is sent."""
        began, took = self.post_send(issue)
        self.wait_for(issue, "state = 'sent'", "the issue is sent", seconds=seconds)
        row = self.ask(SENT, issue.pk)
        return Sent(row[0], float(row[1]) - began, took, float(row[2]) - began)

    def wait_for(self, issue: Row, condition: str, what: str, *, seconds: float) -> None:
        """Wait until a condition holds for an issue's row."""
        question = f"SELECT 1 FROM newsletters_issue WHERE id = %s AND {condition}"  # noqa: S608  # our own text

        def holds() -> bool:
            return self.connection.execute(question, [issue.pk]).fetchone() is not None

        try:
            wait_until(holds, what, seconds=seconds, pause=0.05)
        except ServiceError as error:
            raise ServiceError(f"{error}\n{self.site.logs()}") from error

    def pause(self, issue: Row, *, may_be_sent: bool = False) -> None:
        """Pause an issue and wait until no mail of it is in flight."""
        answer = self.site.call("POST", f"/issues/{issue.uid}/pause")
        if answer.status >= HTTPStatus.BAD_REQUEST and not (may_be_sent and answer.status == HTTPStatus.CONFLICT):
            raise ServiceError(f"pause: {answer.status} {answer.body.decode()}")
        leased = "SELECT count(*) FROM newsletters_delivery WHERE issue_id = %s AND state = 'sending'"
        wait_until(lambda: self.ask(leased, issue.pk)[0] == 0, "no mail is in flight", seconds=60, pause=0.1)

    def ask(self, question: LiteralString, *values: object) -> tuple[Any, ...]:
        """Return the one row that answers an SQL question."""
        row = self.connection.execute(question, values).fetchone()
        assert row is not None
        return row

    def forget_issues(self) -> None:
        """End every issue and empty the ledger, so that the next part begins like the first."""
        self.connection.execute(
            "UPDATE newsletters_issue SET state = 'cancelled', finished_at = now(), fan_out_done_at = now() "
            "WHERE state IN ('sending', 'paused', 'blocked')"
        )
        self.connection.execute("TRUNCATE newsletters_delivery")
