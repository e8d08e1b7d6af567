"""SQLite: how its file is written, where it lies and whether it is whole. Finds nothing on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from django.db import DatabaseError, connection

from newsletters.doctor.findings import Finding, Terms, error, ok, quote, warning

NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs", "lustre", "davfs")
LITTLE_SPACE, VERY_LITTLE_SPACE = 1 << 30, 100 << 20


def settings_of_file(_terms: Terms) -> Iterator[Finding]:
    """Look at the journal, the file system and the space left."""
    if connection.vendor != "sqlite":
        return
    mode = _pragma("journal_mode")
    if mode != "wal":
        yield warning(
            "database.journal_not_wal",
            f"journal_mode is {mode}: readers and the one writer wait for each other.",
            "Let the folder of the file be writable and on a local disk; Courant asks for WAL at each connection.",
        )
    else:
        yield ok("database.journal", "The journal is written ahead (WAL).")
    file = Path(str(connection.settings_dict["NAME"]))
    yield from _file_system(file)
    yield from _space(file.parent)


def _pragma(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {name}")
        return str(cursor.fetchone()[0]).lower()


def _file_system(file: Path) -> Iterator[Finding]:
    kind = file_system(file, Path("/proc/mounts"))
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        yield warning(
            "database.network_file_system",
            f"{file} lies on a network file system ({kind}), where SQLite's locks cannot be relied on.",
            "Move the file to a local disk and let DATABASE_URL name it there, or use PostgreSQL.",
        )


def file_system(file: Path, mounts: Path) -> str:
    """Return the kind of file system that a file lies on, by a table like /proc/mounts; empty when unknown."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    where = file.resolve()
    best, kind = -1, ""
    for line in lines:
        _device, point, name, *_rest = line.split(" ")
        # Spaces are written as \040 there.
        folder = Path(point.replace("\\040", " "))
        if where.is_relative_to(folder) and len(folder.parts) > best:
            best, kind = len(folder.parts), name
    return kind


def _space(folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    seen = f"{free / (1 << 20):,.0f} MiB are free in {folder}"
    remedy = "Free space there, or move the file and let DATABASE_URL name its new place."
    if free < VERY_LITTLE_SPACE:
        yield error("database.disk_full", f"{seen}: nothing can be recorded soon, so nothing will be sent.", remedy)
    elif free < LITTLE_SPACE:
        yield warning("database.disk_nearly_full", f"{seen}.", remedy)
    else:
        yield ok("database.disk", f"{seen}.")


def integrity(_terms: Terms) -> Iterator[Finding]:
    """Let SQLite read its whole file."""
    if connection.vendor != "sqlite":
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA quick_check(3)")
            rows = [str(row[0]) for row in cursor.fetchall()]
    except DatabaseError as failure:
        # It could not even read so far.
        rows = [str(failure)]
    if rows == ["ok"]:
        yield ok("database.whole", "quick_check finds the file whole.")
    else:
        yield error(
            "database.corrupt",
            f"quick_check: {quote('; '.join(rows))}",
            "Stop web and workers, keep a copy of the file, restore the last backup, or try `sqlite3 FILE .recover`.",
        )
