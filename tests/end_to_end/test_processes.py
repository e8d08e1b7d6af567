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
    wait_until(lambda: "Running dramatiq" in worker.program.tail(), "it starts", seconds=30)
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
