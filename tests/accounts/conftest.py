from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache


class StandingClock:
    """The module `time`, but its time of day is ever the same moment and some microseconds, in the middle of 30 s."""

    def __init__(self) -> None:
        self._began = time.time() // 30 * 30 + 15
        self._looks = itertools.count()

    def time(self) -> float:
        """Return a later time at each look, since limits tell what they counted by when it was."""
        return self._began + next(self._looks) * 1e-6

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture(autouse=True)
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no minute of a limit and no code of an app end in the middle of a test, however long it takes."""
    clock = StandingClock()
    monkeypatch.setattr("allauth.core.internal.ratelimit.time", clock)
    monkeypatch.setattr("accounts.doors.limits.time", clock)
    monkeypatch.setattr("allauth.mfa.totp.internal.auth.time", clock)
    # Who waits longer for the count of another is not counted, and refused.
    monkeypatch.setattr("allauth.core.internal.ratelimit.CACHE_LOCK_WAIT_TIMEOUT", 300)


@pytest.fixture
def nothing_counted() -> Iterator[None]:
    """Count nothing of other tests against the limits, and nothing of this test against theirs."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def open_sign_up(settings: Any, nothing_counted: None) -> None:
    """Let everybody make an account."""
    settings.SIGN_UP = "open"
