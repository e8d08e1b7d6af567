"""F40: ten fixed schedules in every run; `make soak N=100` plays random ones on both brokers."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.schedules import LEASE_SECONDS, READERS, bound, play
from tests.faults.stage import Stage

FIXED = (1, 2, 3, 4, 5)
_soak = int(os.environ.get("COURANT_SOAK", "0"))
# All processes of a run must play the same seeds, so the first one comes from outside.
_first = int(os.environ.get("COURANT_SOAK_SEED", "1"))
SEEDS = tuple(range(_first, _first + _soak)) if _soak else FIXED


@pytest.mark.parametrize("seed", SEEDS)
def test_f40_nobody_is_lost_under_a_random_schedule(make_stage: Callable[..., Stage], seed: int) -> None:
    stage = make_stage(readers=READERS, DELIVERY_LEASE_SECONDS=str(LEASE_SECONDS))
    found = play(stage, seed)
    found.require(dups=bound(stage))
