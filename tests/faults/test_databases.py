"""F12, F13, F36: a database that is restarted, killed, and out of connections while mails are in flight."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.stage import Stage

READERS = 600
# Longer than any restart, so that no lease runs out while the database is away.
LEASE = "120"


@pytest.mark.parametrize("act", ["restart_database", "kill_database", "end_sessions"])
def test_f12_f13_live_workers_keep_their_outcomes_while_the_database_is_away(
    make_stage: Callable[..., Stage], act: str
) -> None:
    stage = make_stage(readers=READERS, DELIVERY_LEASE_SECONDS=LEASE)
    stage.send_slowly()
    for turn in range(3):
        stage.wait_for_mails((turn + 1) * READERS // 5)
        getattr(stage, act)()
    stage.finish().require()


def test_f36_a_database_without_free_connections_loses_nobody(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    stage.send_slowly()
    stage.wait_for_mails(READERS // 4)
    stage.exhaust_connections()
    stage.finish().require(dups=0)
