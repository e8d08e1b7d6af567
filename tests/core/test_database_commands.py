"""A command that finds no tables says so in one line."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management.base import BaseCommand

from core.management.database_command import DatabaseCommand
from tests.services.environment import ROOT, clean_environment

CALLS = {
    "create_owner": ["--email", "editor@gazette.example"],
    "create_publisher": ["--name", "The Gazette"],
    "create_api_key": ["--publisher", "The Gazette", "--name", "x", "--scopes", "all"],
    "accept_restore": [],
}
# The doctor names what is wrong, the demonstration migrates its own database, a worker waits for it; the others need
# none.
OTHERS = {"doctor", "demo", "worker", "catcher"}


@pytest.mark.parametrize("name", CALLS)
def test_where_nothing_is_migrated_a_command_says_what_to_do_in_one_line(name: str, tmp_path: Path) -> None:
    where = {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3", "RESTORE_GUARD_STORE": f"{tmp_path}/guard.json"}
    done = subprocess.run(
        [sys.executable, "manage.py", name, *CALLS[name]],
        cwd=ROOT,
        env=clean_environment() | where,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "manage.py migrate" in line


def test_no_command_that_uses_the_database_is_left_out() -> None:
    for file in ROOT.glob("*/management/commands/*.py"):
        if file.stem not in OTHERS | {"__init__"} and not file.stem.startswith("export_"):
            package = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            command: type[BaseCommand] = import_module(package).Command
            assert issubclass(command, DatabaseCommand), file.stem
            assert file.stem in CALLS
