from __future__ import annotations

import signal
import subprocess
import sys
import types
from collections.abc import Iterator

import dramatiq
import pytest

from core.dramatiq_middleware import OneSigterm

KEPT = """
import signal, threading
from dramatiq.brokers.stub import StubBroker
from core.dramatiq_middleware import EndInTime, OneSigterm
signal.signal(signal.SIGTERM, lambda signum, frame: None)
broker = StubBroker(middleware=[OneSigterm(), EndInTime(0.2)])
broker.emit_after("process_boot")
if {signalled}:
    signal.raise_signal(signal.SIGTERM)
threading.Event().wait({seconds})
raise SystemExit(3)
"""


class Child:
    """Dramatiq's own handler: the second signal ends the process at once."""

    def __init__(self) -> None:
        self.signals = 0

    def __call__(self, signum: int, frame: types.FrameType | None) -> None:
        self.signals += 1
        if self.signals > 1:
            sys.exit(3)


@pytest.fixture
def child() -> Iterator[Child]:
    before = signal.getsignal(signal.SIGTERM)
    made = Child()
    signal.signal(signal.SIGTERM, made)
    yield made
    signal.signal(signal.SIGTERM, before)


def test_only_the_first_sigterm_counts(child: Child) -> None:
    OneSigterm().after_process_boot(dramatiq.get_broker())
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)
    assert child.signals == 1


def test_a_sigterm_during_the_boot_and_one_after_it_end_the_process_in_order(child: Child) -> None:
    signal.raise_signal(signal.SIGTERM)
    OneSigterm().after_process_boot(dramatiq.get_broker())
    for _ in range(3):
        signal.raise_signal(signal.SIGTERM)
    assert child.signals == 2


@pytest.mark.parametrize(("signalled", "seconds", "code"), [(True, 60, 0), (False, 1, 3)])
def test_a_worker_process_ends_in_time_after_its_sigterm_whatever_keeps_it(
    signalled: bool, seconds: int, code: int
) -> None:
    script = KEPT.format(signalled=signalled, seconds=seconds)
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=120).returncode == code
