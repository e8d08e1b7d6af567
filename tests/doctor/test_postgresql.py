"""Each defect is made real on the suite's second, durable server, and seen by the command."""

from __future__ import annotations

import contextlib
import datetime
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from newsletters.doctor import database
from newsletters.doctor import postgresql as doctor
from newsletters.doctor.findings import Level, Terms
from tests.doctor.visit import by_code, examined, fault, finding
from tests.services.postgresql import Postgresql
from tests.services.processes import wait_until
from tests.services.site import Site

ROLE = "small"


def database_of(site: Site) -> str:
    return urlsplit(site.environment["DATABASE_URL"]).path.lstrip("/")


@pytest.fixture
def site(make_site: Callable[..., Site], postgresql: Postgresql) -> Iterator[Site]:
    """A site whose role is nobody special."""
    made = make_site("rabbitmq", BROKER_URL="memory://")
    name = database_of(made)
    with postgresql.connect(name) as admin:
        admin.execute(f"CREATE ROLE {ROLE} LOGIN")
        admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}")
        made.environment["DATABASE_URL"] = postgresql.url(name).replace("courant@", f"{ROLE}@")
        yield made
        admin.execute(f"DROP OWNED BY {ROLE}")
        admin.execute(f"DROP ROLE {ROLE}")


def alter(postgresql: Postgresql, site: Site, statement: str) -> None:
    with postgresql.connect(database_of(site)) as admin:
        admin.execute(sql.SQL(statement).format(role=sql.Identifier(ROLE), name=sql.Identifier(database_of(site))))


def test_a_sound_server_has_a_durable_commit(site: Site) -> None:
    document = examined(site.environment)
    seen = finding(document, "database.durable")["seen"]
    assert "synchronous_commit = on" in seen
    assert finding(document, "database.no_checksums")["level"] == "note"
    assert finding(document, "database.idle_bounded")


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("ALTER ROLE {role} SET synchronous_commit = off", f'ALTER ROLE "{ROLE}" RESET synchronous_commit;'),
        ("ALTER DATABASE {name} SET synchronous_commit = off", 'ALTER DATABASE "{name}" RESET synchronous_commit;'),
        (
            "ALTER ROLE {role} IN DATABASE {name} SET synchronous_commit = off",
            f'ALTER ROLE "{ROLE}" IN DATABASE "{{name}}" RESET synchronous_commit;',
        ),
    ],
)
def test_commits_that_do_not_wait_are_found_wherever_they_were_set(
    site: Site, postgresql: Postgresql, statement: str, remedy: str
) -> None:
    alter(postgresql, site, statement)
    document = examined(site.environment)
    bad = finding(document, "database.synchronous_commit_off")
    assert (bad["level"], document["exit_code"]) == ("error", 2)
    assert remedy.format(name=database_of(site)) in bad["remedy"]


def test_a_setting_of_the_url_is_told_from_one_of_the_server(site: Site) -> None:
    url = site.environment["DATABASE_URL"] + "?options=-c%20synchronous_commit%3Doff"
    document = examined(site.environment, DATABASE_URL=url)
    assert "DATABASE_URL" in finding(document, "database.synchronous_commit_off")["remedy"]
    # The options of the URL take the place of our own.
    assert "SET idle_in_transaction_session_timeout" in finding(document, "database.idle_unbounded")["remedy"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_careless_server_is_an_error(name: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("a setting of PostgreSQL")
    # The suite's first server runs without.
    remedy = fault(doctor.durability(Terms()), f"database.{name}_off", Level.ERROR).remedy
    assert remedy == f"Start the server without -c {name}=off."


def test_a_role_that_may_not_make_temporary_tables(site: Site, postgresql: Postgresql) -> None:
    alter(postgresql, site, "REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    bad = finding(examined(site.environment), "database.no_temporary")
    assert bad["level"] == "error"
    # The remedy is what it says.
    with postgresql.connect(database_of(site)) as admin:
        admin.execute(bad["remedy"].encode())
    assert finding(examined(site.environment), "database.temporary")


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("ALTER ROLE {role} CONNECTION LIMIT 10", "database.too_few_role_connections"),
        ("ALTER DATABASE {name} CONNECTION LIMIT 10", "database.too_few_database_connections"),
    ],
)
def test_too_few_connections_are_found_and_the_remedy_is_enough(
    site: Site, postgresql: Postgresql, statement: str, code: str
) -> None:
    alter(postgresql, site, statement)
    bad = finding(examined(site.environment), code)
    # 1 web process of 8 threads and 1, 1 worker process of 8 and 4, 2 commands.
    assert bad["seen"].startswith("23 connections are wanted (web 1 x (8 + 1), workers 1 x (8 + 4), commands 2)")
    assert bad["level"] == "error"
    with postgresql.connect(database_of(site)) as admin:
        admin.execute(bad["remedy"].partition(" Or ")[0].encode())
    assert finding(examined(site.environment), "database.connections")


def test_more_processes_than_the_server_has_connections(site: Site) -> None:
    bad = finding(examined(site.environment, WEB_CONCURRENCY="40"), "database.too_few_max_connections")
    assert "ALTER SYSTEM SET max_connections" in bad["remedy"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_stays_open_is_named_with_what_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL vacuums")
    monkeypatch.setattr(doctor, "OLD_TRANSACTION_SECONDS", 0)
    with contextlib.closing(psycopg.connect(**_same_database())) as held:
        held.execute("SELECT 1")
        found = fault(doctor.vacuum(Terms()), "database.long_transaction", Level.WARNING)
        assert f"process {held.info.backend_pid} " in found.seen
        with connection.cursor() as cursor:
            cursor.execute(found.remedy)
        wait_until(lambda: "database.long_transaction" not in by_code(doctor.vacuum(Terms())), "it ended", seconds=120)


def _same_database() -> dict[str, Any]:
    facts = connection.settings_dict
    return {"host": facts["HOST"], "port": facts["PORT"], "user": facts["USER"], "dbname": facts["NAME"]}


@pytest.mark.django_db(transaction=True)
def test_many_dead_rows_are_worth_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL vacuums")
    monkeypatch.setattr(doctor, "DEAD_ROWS", -1)
    monkeypatch.setattr(doctor, "_STATISTICS", "SELECT 2, 5 /* live, dead */")
    assert "VACUUM" in fault(doctor.vacuum(Terms()), "database.dead_rows", Level.WARNING).remedy


def test_a_clock_that_is_wrong_is_told_from_one_that_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    hour = datetime.timedelta(hours=1)
    monkeypatch.setattr(database, "database_now", lambda: datetime.datetime.now(datetime.UTC) - hour)
    found = fault(database.clock(Terms()), "database.clock_skew", Level.WARNING)
    assert "3600 s behind this machine's" in found.seen
    monkeypatch.setattr(database, "database_now", lambda: datetime.datetime.now(datetime.UTC))
    assert [one.level for one in database.clock(Terms())] == [Level.OK]


# --- a pooler ---------------------------------------------------------------------------------------------


def test_a_pooler_that_nobody_declared_is_found(site: Site, postgresql: Postgresql) -> None:
    with pooling(postgresql.port) as port:
        url = site.environment["DATABASE_URL"].replace(f":{postgresql.port}/", f":{port}/")
        url += "?sslmode=disable&gssencmode=disable"
        bad = finding(examined(site.environment, DATABASE_URL=url), "database.pooler_undeclared")
        assert (bad["level"], "DATABASE_POOLER=1" in bad["remedy"]) == ("warning", True)
        declared = examined(site.environment, DATABASE_URL=url, DATABASE_POOLER="1")
        assert finding(declared, "database.pooler")["level"] == "ok"
    straight = examined(site.environment, DATABASE_POOLER="1")
    assert finding(straight, "database.pooler_absent")["level"] == "note"
    # Our own time limit for sleeping sessions cannot pass a pooler.
    assert finding(straight, "database.idle_unbounded")["level"] == "warning"


@contextmanager
def pooling(server_port: int) -> Iterator[int]:
    """Relay to a server, and like a pooler tell each session a process number of our own making."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, server_port), daemon=True).start()
        yield listener.getsockname()[1]
        # A thread that waits in accept would keep the port open.
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, server_port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", server_port))
        threading.Thread(target=_copy, args=(client, server), daemon=True).start()
        threading.Thread(target=_copy_with_other_number, args=(server, client), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with source, target:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            return


def _copy_with_other_number(server: socket.socket, client: socket.socket) -> None:
    stream = server.makefile("rb")
    kind = b""
    # BackendKeyData: K, length 12, process number, key.
    while kind != b"K":
        head = stream.read(5)
        kind, length = head[:1], struct.unpack("!I", head[1:])[0]
        body = stream.read(length - 4)
        client.sendall(head + (struct.pack("!I", 7) + body[4:] if kind == b"K" else body))
    with server, client:
        try:
            while data := stream.read1(65_536):
                client.sendall(data)
        except OSError:
            return
