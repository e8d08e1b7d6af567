"""F19: the database's disk is full. Nothing is sent that cannot be written down, and sending goes on by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.faults.stage import Stage
from tests.services.machine import MOUNTS, require
from tests.services.postgresql import Postgresql
from tests.services.processes import ServiceError, wait_until
from tests.services.small_disk import SmallDisk

READERS = 800
# Longer than the disk stays full, and than its server takes to come back.
LEASE = "120"
FULL_SECONDS = 3


@pytest.fixture(scope="module")
def cramped() -> Iterator[tuple[SmallDisk, Postgresql]]:
    """A server whose data directory is a small disk."""
    require(MOUNTS)
    server = Postgresql(durable=True)
    server.data.mkdir()
    server.give(server.data)
    disk = SmallDisk(server.data, megabytes=400)
    try:
        server.start()
        yield disk, server
    finally:
        disk.free()
        if server.program is not None:
            server.program.stop(signal.SIGINT)
        disk.unmount()
        server.stop()


@pytest.fixture
def postgresql(cramped: tuple[SmallDisk, Postgresql]) -> Postgresql:
    """The server with the small disk, in place of the one that all other tests share."""
    return cramped[1]


def fill(disk: SmallDisk, server: Postgresql) -> None:
    """Fill the disk, and have the write-ahead log take up the room that it had put by."""
    disk.fill()
    try:
        with server.connect() as connection:
            for _ in range(1_000):
                connection.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))")
    except psycopg.Error:
        return
    raise AssertionError("the server wrote a gigabyte to a full disk")


def revive(server: Postgresql) -> None:
    """Start the server until it stays up, as a supervisor does."""

    def up() -> bool:
        try:
            if not server.running.is_running:
                server.start()
            server.connect().close()
        except (psycopg.OperationalError, ServiceError):
            return False
        return True

    wait_until(up, "the database is back", seconds=300, pause=0.2)


def ready(stage: Stage) -> bool:
    return stage.site.fetch(f"{stage.site.address}/readyz").status == 200


def test_f19_a_full_disk_of_the_database_stops_sending_and_loses_nobody(
    make_stage: Callable[..., Stage], cramped: tuple[SmallDisk, Postgresql]
) -> None:
    disk, server = cramped
    stage = make_stage(readers=READERS, DELIVERY_LEASE_SECONDS=LEASE)
    # It takes a while until the disk is full, and the issue must outlast that.
    stage.send_slowly(seconds=1)
    stage.wait_for_mails(READERS // 8)
    fill(disk, server)
    stage.bound += stage.connections
    wait_until(lambda: not ready(stage), "the site says that it is not ready", seconds=180)
    at_stop = stage.sink.count()
    time.sleep(FULL_SECONDS)
    assert at_stop < READERS
    assert stage.sink.count() - at_stop <= stage.connections
    assert not ready(stage)
    disk.free()
    revive(server)
    back = time.monotonic()
    found = stage.finish()
    print(f"{found.dups} copies, {stage.bound} allowed; sent after {time.monotonic() - back:.1f} s")  # noqa: T201
    found.require(dups=stage.bound)
    wait_until(lambda: ready(stage), "the site says that it is ready", seconds=180)
