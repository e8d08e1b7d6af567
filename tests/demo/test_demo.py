"""The demonstration as a user runs it: real processes, own folder, own ports."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.environment import clean_environment
from tests.services.processes import free_port, wait_until

ROOT = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 600


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


def command(folder: Path, ports: tuple[int, int], *more: str) -> list[str]:
    web, mail = (str(port) for port in ports)
    return [sys.executable, "manage.py", "demo", "--folder", str(folder), "--port", web, "--mail-port", mail, *more]


def environment() -> dict[str, str]:
    return {**os.environ, **clean_environment(), "DEBUG": "1", "BROKER_URL": "", "DATABASE_URL": ""}


def processes_of(folder: Path) -> list[int]:
    """Return the processes that have the folder in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{folder}/courant.sqlite3".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_it_accounts_for_everybody_twice_in_a_row(tmp_path: Path, ports: tuple[int, int]) -> None:
    for number, new in ((1, "1,000 new, 0 known"), (2, "0 new, 1,000 known")):
        done = subprocess.run(
            command(tmp_path, ports, "--once"),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert new in done.stdout
        assert f"no. {number}:" in done.stdout
        assert "1,000 readers = 1,000 sent" in done.stdout
        assert "1,000 mails to 1,000 addresses" in done.stdout
        assert len(list((tmp_path / "mail" / "new").iterdir())) == number * 1000
        wait_until(lambda: processes_of(tmp_path) == [], "the last process is gone", seconds=60)


@pytest.fixture
def serving(tmp_path: Path, ports: tuple[int, int]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(tmp_path, ports),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


def test_it_serves_the_site_and_one_signal_stops_every_process(
    serving: subprocess.Popen[str], tmp_path: Path, ports: tuple[int, int]
) -> None:
    said = ""
    deadline = time.monotonic() + PATIENCE_SECONDS
    assert serving.stdout is not None
    while "Ctrl-C stops everything" not in said and time.monotonic() < deadline:
        line = serving.stdout.readline()
        assert line, said
        said += line
    assert re.search(r"sign in as admin@example\.org with the password \S{16}\n", said)
    key = re.search(r"with the key (crnt_\S+)\n", said)
    assert key
    asked = urllib.request.Request(
        f"http://127.0.0.1:{ports[0]}/api/v1/newsletters", headers={"Authorization": f"Bearer {key[1]}"}
    )
    with urllib.request.urlopen(asked, timeout=120) as answer:  # noqa: S310  # our own address
        assert [one["slug"] for one in json.load(answer)["items"]] == ["harbour-letter"]
    for path in ("/admin/login/", "/mail/", "/static/courant/admin.css"):
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}{path}", timeout=120) as answer:
            assert answer.status == 200
    assert len(processes_of(tmp_path)) >= 4
    serving.send_signal(signal.SIGINT)
    assert serving.wait(PATIENCE_SECONDS) == 0
    wait_until(lambda: processes_of(tmp_path) == [], "the last process is gone", seconds=60)


def test_a_port_in_use_is_named(tmp_path: Path, ports: tuple[int, int]) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        done = subprocess.run(
            command(tmp_path, ports, "--once"),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == 1
    assert f"Port {ports[0]} for the site (PORT) is in use" in done.stderr
    assert processes_of(tmp_path) == []


def test_it_refuses_to_run_without_debug(tmp_path: Path, ports: tuple[int, int]) -> None:
    variables = environment() | {"DEBUG": "0", "BASE_URL": "http://127.0.0.1", "SECRET_KEY": secrets.token_urlsafe(48)}
    done = subprocess.run(
        command(tmp_path, ports, "--once"),
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert "only with DEBUG=1" in done.stderr
