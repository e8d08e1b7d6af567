from __future__ import annotations

import signal
import sys
import types
from collections.abc import Iterator

import dramatiq
import pytest

from core.dramatiq_middleware import OneSigterm


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
