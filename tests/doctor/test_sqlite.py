from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from newsletters.doctor import sqlite
from newsletters.doctor.findings import Level
from tests.doctor.visit import examined, finding
from tests.services.site import Site


def file_of(site: Site) -> Path:
    return Path(site.environment["DATABASE_URL"].removeprefix("sqlite:///"))


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site("embedded")


def test_a_good_file_is_in_order(site: Site) -> None:
    document = examined(site.environment)
    assert finding(document, "database.journal")["level"] == "ok"
    assert finding(document, "database.whole")["level"] == "ok"


def test_a_file_that_does_not_exist_is_not_made(site: Site) -> None:
    file_of(site).unlink()
    document = examined(site.environment)
    assert "migrate" in finding(document, "database.unreachable")["remedy"]
    assert not file_of(site).exists()


def test_a_broken_page_is_found(site: Site) -> None:
    with sqlite3.connect(file_of(site)) as direct:
        [(page,)] = direct.execute("SELECT rootpage FROM sqlite_master WHERE name = 'newsletters_suppression'")
        [(size,)] = direct.execute("PRAGMA page_size")
    direct.close()
    with file_of(site).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    document = examined(site.environment)
    assert finding(document, "database.corrupt")["level"] == "error"
    assert document["exit_code"] == 2


def test_a_file_that_is_no_database_is_an_error_and_no_traceback(site: Site) -> None:
    file_of(site).write_bytes(b"no database" * 1000)
    assert finding(examined(site.environment), "database.unreachable")["level"] == "error"


@pytest.mark.parametrize(
    ("free", "code", "level"),
    [
        (50 << 20, "database.disk_full", Level.ERROR),
        (500 << 20, "database.disk_nearly_full", Level.WARNING),
        (5 << 30, "database.disk", Level.OK),
    ],
)
def test_little_space_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, code: str, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=free))
    [found] = sqlite._space(tmp_path)
    assert (found.code, found.level, bool(found.remedy)) == (code, level, level is not Level.OK)


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path}/my\\040share nfs4 rw 0 0\n")
    file = tmp_path / "my share" / "courant.sqlite3"
    assert sqlite.file_system(file, mounts) == "nfs4"
    assert sqlite.file_system(Path("/srv/courant.sqlite3"), mounts) == "ext4"
    assert sqlite.file_system(file, tmp_path / "nowhere") == ""


def test_a_network_file_system_is_worth_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sqlite, "file_system", lambda _file, _mounts: "fuse.sshfs")
    [found] = sqlite._file_system(tmp_path / "courant.sqlite3")
    assert (found.code, found.level) == ("database.network_file_system", Level.WARNING)
    assert "DATABASE_URL" in found.remedy
