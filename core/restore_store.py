"""What the service remembers of its database, kept outside of it: in a file, in Redis, or nowhere."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import redis
from django.conf import settings

PREFIX = "courant:restore-guard:"


class UnreadableError(Exception):
    """What is stored is not what was written."""


class UnreachableError(Exception):
    """The store cannot be reached or written now; nothing is known of what it holds."""


@dataclass(frozen=True)
class Memory:
    """A database as it was seen.

    `parts` names what a restore changes (PostgreSQL's system identifier, timeline and OIDs); a part that the
    role may not read is None. `counter` and `acceptance` are those of `core.models.RestoreGuard`.
    """

    acceptance: str
    counter: int
    parts: dict[str, str | None]
    superseded: tuple[str, ...] = ()

    def follows(self, earlier: Memory) -> bool:
        """Tell whether this is `earlier` later on, or has been accepted by a person in its place."""
        if self.counter < earlier.counter:
            return False
        return self.acceptance == earlier.acceptance or earlier.acceptance in self.superseded

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Memory:
        """Raises UnreadableError."""
        try:
            raw: dict[str, Any] = json.loads(text)
            parts = {str(name): None if value is None else str(value) for name, value in raw["parts"].items()}
            memory = cls(str(raw["acceptance"]), int(raw["counter"]), parts, tuple(map(str, raw["superseded"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(f"The memory of the restore guard is damaged ({type(error).__name__}).") from error
        return memory


class Store(Protocol):
    """Where the memory is; each method raises UnreachableError or UnreadableError."""

    name: str

    def read(self) -> Memory | None:
        """Return what is remembered; None when nothing ever was."""
        ...

    def remember(self, memory: Memory, *, force: bool = False) -> None:
        """Keep `memory` when it follows what is there; with `force` whatever is there."""
        ...


class FileStore:
    """A file only its owner reads; replaced as a whole, so a crash leaves the old one or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = str(path)

    def read(self) -> Memory | None:
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            # A file that is there and cannot be read may say anything: that is not a first start. It may also pass.
            raise UnreachableError(f"{self._path} cannot be read ({error.strerror}).") from error
        return Memory.from_json(text)

    def remember(self, memory: Memory, *, force: bool = False) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                kept = None if force else self.read()
                if kept is None or memory.follows(kept):
                    self._write(memory.to_json())
        except OSError as error:
            raise UnreachableError(f"{self._path} cannot be written ({error.strerror}).") from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._give_to_owner(lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _give_to_owner(self, handle: int) -> None:
        """Let workers read what root writes: it belongs to the owner of the memory, or else of its folder."""
        if os.geteuid() == 0:
            owner = (self._path if self._path.exists() else self._path.parent).stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)

    def _write(self, text: str) -> None:
        folder = self._path.parent
        # mkstemp makes files of mode 0600.
        handle, name = tempfile.mkstemp(dir=folder, prefix=f".{self._path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                self._give_to_owner(handle)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class RedisStore:
    """A key of a Redis that keeps its data, named for the installation; written by compare-and-set."""

    def __init__(self, url: str, installation: str) -> None:
        self._key = PREFIX + installation
        self._client = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)
        self.name = "Redis"

    def read(self) -> Memory | None:
        try:
            return _parsed(self._client.get(self._key))
        except redis.RedisError as error:
            raise UnreachableError(f"Redis cannot be asked ({type(error).__name__}).") from error

    def remember(self, memory: Memory, *, force: bool = False) -> None:
        def write(pipe: Any) -> None:
            kept = None if force else _parsed(pipe.get(self._key))
            pipe.multi()
            if kept is None or memory.follows(kept):
                pipe.set(self._key, memory.to_json())

        try:
            self._client.transaction(write, self._key)
        except redis.RedisError as error:
            raise UnreachableError(f"Redis cannot be written ({type(error).__name__}).") from error


class NoStore:
    """Remembers nothing: only a block that is recorded in the database holds."""

    name = "off"

    def read(self) -> Memory | None:
        return None

    def remember(self, memory: Memory, *, force: bool = False) -> None:
        pass


def open_store(setting: str) -> Store:
    """Return the store that RESTORE_GUARD_STORE names.

    Several installations may share a Redis: each has a key named by the URL's fragment, or else by the site's host.
    """
    if setting == "off":
        return NoStore()
    if not setting.startswith("redis"):
        return FileStore(Path(setting))
    url, _, name = setting.partition("#")
    return RedisStore(url, name or urlsplit(settings.BASE_URL).netloc)


def _parsed(text: Any) -> Memory | None:
    return None if text is None else Memory.from_json(text)
