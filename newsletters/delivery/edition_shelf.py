"""The editions that a process has at hand."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from newsletters.delivery.editions import Facts, load_edition, note_unreadable

EDITIONS_KEPT = 16


class EditionShelf:
    """Keeps what was read; `run` calls what asks the database."""

    def __init__(self, run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        self._run = run
        self._kept: dict[int, Facts] = {}

    async def take(self, issue_id: int) -> Facts | None:
        """Return what was frozen of an issue; None when this process cannot read it. Raises DatabaseError."""
        facts = self._kept.get(issue_id)
        if facts is not None:
            return facts
        found: Facts | None = await self._run(functools.partial(load_edition, issue_id))
        if found is None:
            await self._run(functools.partial(note_unreadable, issue_id))
            return None
        while len(self._kept) >= EDITIONS_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[issue_id] = found
        return found
