"""The processes start, answer and end as a platform expects."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable

import pytest

from tests.services.environment import ROOT
from tests.services.processes import Program, answers, wait_until
from tests.services.site import Answer, Site

NEWSLETTER = {
    "name": "The Weekly",
    "slug": "weekly",
    "from_address": "news@gazette.example",
    "postal_address": "1 Printing House Square, London",
}


def test_honcho_starts_everything_and_one_interrupt_ends_it(make_site: Callable[..., Site]) -> None:
    site = make_site("embedded")
    none = site.folder / "empty.env"
    none.touch()
    command = [sys.executable, "-m", "honcho", "-e", str(none), "-d", str(ROOT), "start"]
    path = f"{ROOT / '.venv' / 'bin'}:{site.environment['PATH']}"
    program = Program(command, log=site.folder / "honcho.log", environment=site.environment | {"PATH": path})
    try:
        program.wait_ready(lambda: answers(site.port), seconds=180)
        assert site.fetch(f"{site.address}/healthz").status == 200
        wait_until(lambda: "worker" in program.tail(200), "the worker starts", seconds=180)
        time.sleep(2)
        assert program.is_running, program.tail()
        program.send(signal.SIGINT)
        program.wait(180)
        # Children of its children hold the socket for a moment longer.
        wait_until(lambda: not answers(site.port), "the port is free", seconds=60)
    finally:
        program.stop()


def test_a_worker_ends_at_the_first_sigterm(make_site: Callable[..., Site]) -> None:
    site = make_site("embedded")
    worker = site.start_worker()
    wait_until(lambda: "restore_guard_adopted" in worker.program.tail(), "it starts", seconds=180)
    time.sleep(3)
    assert worker.stop(seconds=180) == 0
    # By itself, not because its time was up.
    assert "worker_ended_in_the_middle" not in worker.program.tail(1000)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_site_says_that_it_is_well(make_site: Callable[..., Site], path: str) -> None:
    site = make_site("embedded")
    site.start_web()
    answer = site.fetch(f"{site.address}{path}")
    assert answer.status == 200, answer.body


def test_who_uploads_too_much_or_the_wrong_thing_reads_why(make_site: Callable[..., Site]) -> None:
    site = make_site("embedded")
    site.start_web()
    path = "/newsletters/" + site.ask("POST", "/newsletters", NEWSLETTER)["id"]
    headers = {"Content-Type": "text/csv"}
    for body, status in ((b"x" * 51_000_000, 413), (b"email,name\na@b.co,Jos\xe9\n" + b"x\n" * 15_000_000, 422)):
        answer = upload(site, f"{path}/imports?consent_source=form", body, headers)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert site.ask("GET", f"{path}/imports")["items"] == []


def upload(site: Site, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    """Return the answer to an upload; what is left of the body is read for 10 s, too short on a machine that crawls."""
    for _ in range(9):
        with contextlib.suppress(OSError):
            return site.call("POST", path, body, headers=headers)
    return site.call("POST", path, body, headers=headers)


def test_long_addresses_and_headers_reach_our_own_answers(make_site: Callable[..., Site]) -> None:
    site = make_site("embedded")
    site.start_web()
    assert site.call("GET", "/newsletters/" + "9" * 5_000).json["code"] == "not_found"
    refused = site.call("GET", "/newsletters", headers={"Authorization": "Bearer " + "x" * 10_000})
    assert (refused.status, refused.json["code"]) == (401, "not_authenticated")
