"""The processes start, answer and end as a platform expects."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable

import pytest

from tests.services.environment import ROOT
from tests.services.processes import Program, answers, wait_until
from tests.services.site import Site

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
        program.wait_ready(lambda: answers(site.port), seconds=30)
        assert site.fetch(f"{site.address}/healthz").status == 200
        wait_until(lambda: "worker" in program.tail(200), "the worker starts", seconds=30)
        time.sleep(2)
        assert program.is_running, program.tail()
        program.send(signal.SIGINT)
        program.wait(30)
        assert not answers(site.port)
    finally:
        program.stop()


def test_a_worker_ends_at_the_first_sigterm(make_site: Callable[..., Site]) -> None:
    site = make_site("embedded")
    worker = site.start_worker()
    wait_until(lambda: "restore_guard_adopted" in worker.program.tail(), "it starts", seconds=30)
    time.sleep(3)
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 15


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
        answer = site.call("POST", f"{path}/imports?consent_source=form", body, headers=headers)
        assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert site.ask("GET", f"{path}/imports")["items"] == []


def test_long_addresses_and_headers_reach_our_own_answers(make_site: Callable[..., Site]) -> None:
    site = make_site("embedded")
    site.start_web()
    assert site.call("GET", "/newsletters/" + "9" * 5_000).json["code"] == "not_found"
    refused = site.call("GET", "/newsletters", headers={"Authorization": "Bearer " + "x" * 10_000})
    assert (refused.status, refused.json["code"]) == (401, "not_authenticated")
