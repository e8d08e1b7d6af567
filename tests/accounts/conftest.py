from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache


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
