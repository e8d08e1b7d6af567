from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.small_disk import SmallDisk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path, megabytes=4)
    yield made
    made.unmount()


def test_a_full_disk_takes_nothing_until_it_is_freed(disk: SmallDisk, tmp_path: Path) -> None:
    disk.fill()
    assert disk.free_bytes == 0
    with pytest.raises(OSError, match="No space left"):
        (tmp_path / "note").write_text("x")
    disk.free()
    (tmp_path / "note").write_text("x" * 10_000)
