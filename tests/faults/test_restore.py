"""Put an older database back under a service that has gone on since. Not one mail may leave from it."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.services import editor
from tests.services.accounting import account
from tests.services.postgresql import Postgresql
from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink
from tests.services.site import Site

READERS = 300
THIRD = READERS // 3
# Longer than a server is away, so that not even a busy machine doubles a mail before the restore.
LEASE = "30"


def start(site: Site, sink: SmtpSink, *, readers: int) -> tuple[str, set[str]]:
    """Import the readers and send them an issue; return its id and their addresses."""
    newsletter_id = editor.make_newsletter(site)
    expected = editor.import_numbered_readers(site, newsletter_id, readers)
    sink.script({"*": {"delay": 0.1}})
    issue_id = editor.write_issue(site, newsletter_id)
    assert site.send_issue(issue_id).status == 202
    return issue_id, expected


def run_site(make_site: Callable[..., Site], set_up: str, *, lease: str = LEASE) -> Site:
    site = make_site(set_up, DELIVERY_LANES="4", DELIVERY_LEASE_SECONDS=lease)
    site.start_web()
    site.start_worker()
    return site


def url_of(site: Site) -> str:
    return site.environment["DATABASE_URL"]


def attempt(name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    found = shutil.which(name) or str(Path(Postgresql._binary("postgres")).with_name(name))
    return subprocess.run([found, *arguments], check=False, timeout=300, capture_output=True)


def program(name: str, *arguments: str) -> None:
    done = attempt(name, *arguments)
    assert done.returncode == 0, done.stderr


def blocked(site: Site) -> bool:
    return bool(site.fetch(f"{site.address}/readyz").json["sending"] == "blocked")


def expect_silence_then_resume(site: Site, sink: SmtpSink, issue_id: str, expected: set[str]) -> None:
    """The restored site sends nothing and says so; accepted and resumed, everybody has a mail."""
    wait_until(lambda: blocked(site), "sending is blocked", seconds=180)
    site.wait_for_issue(issue_id, "blocked", seconds=180)
    time.sleep(4)
    assert sink.count() == READERS, "a mail left from the restored database"
    assert all(worker.program.is_running for worker in site.workers)
    assert site.call("POST", f"/issues/{issue_id}/resume").status == 409
    assert "Accepted. 1 issue(s)" in site.manage("accept-restore", "--yes", "--resume")
    site.wait_for_issue(issue_id, "sent", seconds=400)
    assert not blocked(site)
    account(site, issue_id, sink, expected).require(dups=READERS)


def at_a_third(site: Site, sink: SmtpSink) -> tuple[str, set[str]]:
    issue_id, expected = start(site, sink, readers=READERS)
    wait_until(lambda: sink.count() >= THIRD, "a third of the mails is out", seconds=300)
    # What is done to the database now may take long, and the issue must outlast it.
    sink.script({"*": {"delay": 5}})
    return issue_id, expected


def send_the_rest(site: Site, sink: SmtpSink, issue_id: str) -> None:
    """Go on to the issue's end, which is still far away."""
    assert sink.count() < READERS
    sink.script({})
    site.wait_for_issue(issue_id, "sent", seconds=400)


def test_a_dump_restored_under_the_same_name_sends_nothing(
    make_site: Callable[..., Site], postgresql: Postgresql, smtp_sink: SmtpSink, tmp_path: Path
) -> None:
    site = run_site(make_site, "redis")
    issue_id, expected = at_a_third(site, smtp_sink)
    dump = str(tmp_path / "dump")
    program("pg_dump", "--format=custom", f"--file={dump}", url_of(site))
    send_the_rest(site, smtp_sink, issue_id)
    site.workers.pop().stop()
    # Its log of requests would be written to tables that are being filled.
    site.kill_web()
    name = urlsplit(url_of(site)).path.lstrip("/")
    with postgresql.connect() as server:
        server.autocommit = True
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        server.execute(f'CREATE DATABASE "{name}"')
    program("pg_restore", "--no-owner", f"--dbname={url_of(site)}", dump)
    site.start_web()
    site.start_worker()
    expect_silence_then_resume(site, smtp_sink, issue_id, expected)


@pytest.mark.parametrize("set_up", ["rabbitmq", "redis"])
def test_f22_a_data_directory_copied_back_sends_nothing(
    make_site: Callable[..., Site], postgresql: Postgresql, smtp_sink: SmtpSink, tmp_path: Path, set_up: str
) -> None:
    site = run_site(make_site, set_up)
    issue_id, expected = at_a_third(site, smtp_sink)
    data, kept = postgresql.data, tmp_path / "data"
    postgresql.kill()
    # Only `cp` keeps owners and modes.
    program("cp", "--archive", str(data), str(kept))
    postgresql.start()
    send_the_rest(site, smtp_sink, issue_id)
    site.workers.pop().stop()
    postgresql.kill()
    shutil.rmtree(data)
    program("cp", "--archive", str(kept), str(data))
    postgresql.start()
    site.start_worker()
    expect_silence_then_resume(site, smtp_sink, issue_id, expected)


def test_rows_put_back_in_place_under_a_live_worker_send_nothing(
    make_site: Callable[..., Site], postgresql: Postgresql, smtp_sink: SmtpSink, tmp_path: Path
) -> None:
    site = run_site(make_site, "redis")
    issue_id, expected = at_a_third(site, smtp_sink)
    dump = tmp_path / "rows.sql"
    program("pg_dump", "--data-only", "--inserts", "--disable-triggers", f"--file={dump}", url_of(site))
    send_the_rest(site, smtp_sink, issue_id)
    tables = "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables WHERE schemaname = 'public'"
    with psycopg.connect(url_of(site)) as database:
        [(names,)] = database.execute(tables).fetchall()
    script = tmp_path / "restore.sql"
    script.write_text(f"TRUNCATE {names};\n{dump.read_text()}")

    def restored() -> bool:
        done = attempt(
            "psql", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", f"--file={script}", url_of(site)
        )
        # It locks all tables, one after the other, while the service works with them.
        assert not done.returncode or b"deadlock detected" in done.stderr, done.stderr
        return not done.returncode

    wait_until(restored, "the rows are back", seconds=300)
    expect_silence_then_resume(site, smtp_sink, issue_id, expected)


def test_an_sqlite_file_copied_back_sends_nothing(
    make_site: Callable[..., Site], smtp_sink: SmtpSink, tmp_path: Path
) -> None:
    site = run_site(make_site, "embedded")
    issue_id, expected = at_a_third(site, smtp_sink)
    path = urlsplit(url_of(site)).path
    with sqlite3.connect(path) as source, sqlite3.connect(tmp_path / "copy.sqlite3") as copy:
        source.backup(copy)
    copy.close()
    source.close()
    send_the_rest(site, smtp_sink, issue_id)
    site.workers.pop().stop()
    site.kill_web()
    for suffix in ("-wal", "-shm"):
        Path(path + suffix).unlink(missing_ok=True)
    shutil.copy(tmp_path / "copy.sqlite3", path)
    site.start_web()
    site.start_worker()
    expect_silence_then_resume(site, smtp_sink, issue_id, expected)


@pytest.mark.parametrize("set_up", ["embedded", "redis"])
def test_kills_restarts_and_migrations_never_trip(
    request: pytest.FixtureRequest, make_site: Callable[..., Site], smtp_sink: SmtpSink, set_up: str
) -> None:
    site = run_site(make_site, set_up, lease="10")
    issue_id, expected = at_a_third(site, smtp_sink)
    [worker] = site.workers
    for _ in range(2):
        before = worker.restarts
        worker.kill()
        wait_until(lambda before=before: worker.restarts > before, "it runs again", seconds=60)  # type: ignore[misc]
        time.sleep(1)
    if set_up == "redis":
        server: Postgresql = request.getfixturevalue("postgresql")
        server.kill()
        server.start()
    worker.program.send_group(signal.SIGTERM)
    site.manage("migrate", "--verbosity", "0")
    send_the_rest(site, smtp_sink, issue_id)
    assert not blocked(site)
    account(site, issue_id, smtp_sink, expected).require(dups=4 * 4)
