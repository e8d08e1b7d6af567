"""The web process is killed around the commit of a request with an `Idempotency-Key`; the client asks again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from psycopg import sql

from tests.services import editor
from tests.services.postgresql import Postgresql
from tests.services.processes import wait_until
from tests.services.site import Answer, Site
from tests.services.tcp_proxy import TcpProxy

REPLAYED = "Idempotency-Replayed"
# What the connection of a request says, and no other one: the journal's thread commits as well.
WORDS = (b"core_idempotencyrecord", b"COMMIT")


@dataclass(frozen=True)
class Linked:
    """A site whose web process reaches its database by way of a proxy."""

    site: Site
    link: TcpProxy
    server: Postgresql

    def count(self, table: str) -> int:
        with self.server.connect(self.site.environment["DATABASE_URL"].rpartition("/")[2]) as database:
            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
            [(number,)] = database.execute(statement).fetchall()
        return int(number)

    def kill_at_commit(self, ask: Callable[[], Answer], *, committed: bool) -> None:
        """Make a request and kill the web process when its transaction is about to end, or has just ended."""
        hold = self.link.hold_replies_after if committed else self.link.hold_before
        hold(*WORDS)

        def attempt() -> None:
            with suppress(OSError):
                answers.append(ask())

        answers: list[Answer] = []
        client = threading.Thread(target=attempt)
        client.start()
        assert self.link.held.wait(60)
        self.site.kill_web()
        client.join()
        assert not answers
        self.link.let_go()
        self.site.start_web()


@pytest.fixture
def linked(make_site: Callable[..., Site], postgresql: Postgresql) -> Iterator[Linked]:
    site = make_site("redis")
    with TcpProxy(postgresql.port) as link:
        url = site.environment["DATABASE_URL"].replace(f":{postgresql.port}/", f":{link.port}/")
        site.environment["DATABASE_URL"] = url
        site.start_web()
        yield Linked(site, link, postgresql)


def test_a_kill_between_commit_and_answer_replays_the_answer(linked: Linked) -> None:
    site, headers = linked.site, {"Idempotency-Key": "k1"}
    path = f"/newsletters/{editor.make_newsletter(site)}/issues"

    def write() -> Answer:
        return site.call("POST", path, {"subject": "Once", "body": editor.BODY}, headers=headers)

    linked.kill_at_commit(write, committed=True)
    wait_until(lambda: linked.count("newsletters_issue") == 1, "the server has committed", seconds=30)
    again, third = write(), write()
    assert (again.status, again.headers.get(REPLAYED)) == (201, "true")
    assert (third.status, third.body) == (201, again.body)
    assert linked.count("newsletters_issue") == 1
    assert site.ask("GET", f"/issues/{again.json['id']}") == again.json


def test_a_kill_before_the_commit_leaves_nothing_and_the_next_request_is_the_first(linked: Linked) -> None:
    site, headers = linked.site, {"Idempotency-Key": "k1"}
    path = f"/newsletters/{editor.make_newsletter(site)}/issues"

    def write() -> Answer:
        return site.call("POST", path, {"subject": "Once", "body": editor.BODY}, headers=headers)

    linked.kill_at_commit(write, committed=False)
    again = write()
    assert (again.status, again.headers.get(REPLAYED)) == (201, None)
    assert linked.count("newsletters_issue") == 1


def test_a_kill_between_commit_and_answer_sends_an_issue_once(linked: Linked) -> None:
    site, headers = linked.site, {"Idempotency-Key": "send 1"}
    newsletter = editor.make_newsletter(site)
    reader = {"address": "ada@example.org", "consent_source": "paper form"}
    site.ask("POST", f"/newsletters/{newsletter}/subscriptions", reader)
    issue = editor.write_issue(site, newsletter)

    def send() -> Answer:
        return site.call("POST", f"/issues/{issue}/send", headers=headers)

    linked.kill_at_commit(send, committed=True)
    again = send()
    assert (again.status, again.headers.get(REPLAYED), again.json["state"]) == (202, "true", "sending")
    assert site.send_issue(issue).json["code"] == "issue_not_sendable"
    assert linked.count("newsletters_edition") == 1


def test_a_kill_between_commit_and_answer_takes_an_import_once(linked: Linked) -> None:
    site, headers = linked.site, {"Idempotency-Key": "k1", "Content-Type": "text/csv"}
    path = f"/newsletters/{editor.make_newsletter(site)}/imports?consent_source=form"
    file = "\n".join(["email", *(f"reader-{number}@example.org" for number in range(20_000)), ""]).encode()

    def upload() -> Answer:
        return site.call("POST", path, file, headers=headers)

    linked.kill_at_commit(upload, committed=True)
    again = upload()
    assert (again.status, again.headers.get(REPLAYED)) == (202, "true")
    assert again.headers["Location"] == f"/api/v1/imports/{again.json['id']}"
    assert linked.count("newsletters_import") == 1
