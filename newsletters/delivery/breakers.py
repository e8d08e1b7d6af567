"""The breakers of the issues that one process is delivering."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Container
from typing import Any

import structlog

from newsletters.delivery.breaker import Breaker, Streaks
from newsletters.delivery.editions import stop_issue
from newsletters.delivery.streaks import tell

log = structlog.get_logger(__name__)


class Breakers:
    """One for each issue, for as long as a mail of it may be under way; `run` calls what asks the database."""

    def __init__(self, run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        self._run = run
        self._of: dict[int, Breaker] = {}

    def __len__(self) -> int:
        return len(self._of)

    def of(self, issue_id: int, *, counted: bool) -> Breaker:
        """Return the breaker of an issue; `counted` says whether failures in a row stand on the issue's row."""
        breaker = self._of.setdefault(issue_id, Breaker())
        breaker.counted = counted
        return breaker

    async def tell(self, issue_id: int, breaker: Breaker) -> None:
        """Add what has failed here to what has failed anywhere. Raises DatabaseError; the news is kept then."""
        if not breaker.has_news:
            return
        news, at = breaker.untold, breaker.succeeded_at
        breaker.untold, breaker.relieved = Streaks(), False
        try:
            counted = await self._run(functools.partial(tell, issue_id, news, succeeded_at=at))
        except Exception:
            # After a success meanwhile, what failed before it counts no longer.
            if breaker.succeeded_at == at:
                news.add(breaker.untold)
                breaker.untold = news
            breaker.relieved = breaker.counted and not breaker.failing
            raise
        breaker.counted = counted is not None and counted != Streaks()
        if counted is not None:
            breaker.judge(counted)

    async def finish(self, issue_id: int, *, running: Container[int], stragglers: bool) -> None:
        """End a slice: stop the issue if it must stop, and forget the breakers that no mail can reach any more."""
        idle = [] if stragglers else [pk for pk in self._of if pk not in running]
        for pk in dict.fromkeys([issue_id, *idle]):
            breaker = self._of.get(pk)
            if breaker is None:
                continue
            await self.tell(pk, breaker)
            if not stragglers or breaker.tripped:
                self._of.pop(pk, None)
            if breaker.tripped:
                await self._stop(pk, reason=breaker.tripped, detail=breaker.detail[:500])

    async def _stop(self, issue_id: int, *, reason: str, detail: str) -> None:
        log.error("issue_stopped", issue=issue_id, reason=reason)
        await self._run(functools.partial(stop_issue, issue_id, reason=reason, detail=detail))
