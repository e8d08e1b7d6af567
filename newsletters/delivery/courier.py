"""The courier: the lanes of one worker process on one event loop, and what they share.

A process has a fixed number of lanes, divided equally among the issues it is delivering. A row whose
mail was in flight when a worker died is a suspect: it is attempted alone in its process, so that a
mail that kills its worker drags no neighbour into doubt.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from django.db import connection

from newsletters.delivery.breaker import COMPOSITION_FAILED, Breaker
from newsletters.delivery.claim import claim, claim_suspect
from newsletters.delivery.compose import Template
from newsletters.delivery.dialects import Claimed
from newsletters.delivery.lane import Lane, Run, release
from newsletters.delivery.ledger import Ledger
from newsletters.delivery.relay import RelayPool
from newsletters.delivery.smtp import Connection
from newsletters.models import Edition, Issue, IssueState

log = structlog.get_logger(__name__)

T = TypeVar("T")
TOP_UP_SECONDS = 0.1
FIRST_LANE_SECONDS = 0.005
SOLO_WAIT_SECONDS = 0.01
SOLO_PATIENCE_SECONDS = 5.0
# A lane whose mail takes longer than this beyond the slice goes on without it.
STRAGGLER_SECONDS = 1.0
STOP_SECONDS = 20.0
TEMPLATES_KEPT = 16


@dataclass(frozen=True)
class Limits:
    """How much one process takes on: lanes in all, issues at once, seconds for one doorbell."""

    lanes: int
    issues: int
    slice_seconds: float
    lease_seconds: int


@dataclass
class Courier:
    """Lives as long as the worker process; `serve` is what the `deliver` actor awaits."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    open_connection: Callable[[], Awaitable[Connection]]
    _serving: set[int] = field(default_factory=set)
    _stragglers: set[asyncio.Task[None]] = field(default_factory=set)
    _lanes: int = 0
    _draining: bool = False

    def __post_init__(self) -> None:
        self._ledger = Ledger(self.loop, lease_seconds=self.limits.lease_seconds)
        self._relay = RelayPool(self.open_connection)
        self._database = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="courier-database")
        self._templates: dict[int, tuple[Template, str]] = {}
        self._breakers: dict[int, Breaker] = {}
        self._solo = asyncio.Lock()

    def start(self) -> None:
        self._ledger.start()

    def drain(self) -> None:
        """Let every lane finish the mail in its hands and give its other rows back."""
        self._draining = True

    def stop(self) -> None:
        """Await mails in flight, close connections and end both database threads. Call when no `serve` is running."""
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._outlast_stragglers(), self.loop).result(STOP_SECONDS)
        self.loop.call_soon_threadsafe(self._relay.close)
        self._ledger.stop()
        # `connection` is another object in each thread: its `close` must be looked up there.
        self._database.submit(_close_connection)
        self._database.shutdown(wait=True)

    async def serve(self, issue_id: int) -> None:
        """Deliver an issue's due rows for at most a slice; returns at once when there is no room for it.

        Raises DatabaseError when the database cannot be reached for a claim.
        """
        if self._draining or self._solo.locked() or self._relay.resting or issue_id in self._serving:
            return
        if len(self._serving) >= self.limits.issues or len(self._stragglers) >= self.limits.lanes:
            return
        self._serving.add(issue_id)
        try:
            run = await self._begin(issue_id)
            if run is not None:
                # A mail of the slice before may have ended since, and been one failure too many.
                if not run.breaker.tripped:
                    await self._deliver(run)
                await self._finish(run)
        finally:
            self._serving.discard(issue_id)
            if self._draining and not self._serving:
                self._relay.close()

    async def _begin(self, issue_id: int) -> Run | None:
        if issue_id not in self._templates:
            edition = await self._in_database(functools.partial(load_edition, issue_id))
            if edition is None:
                return None
            while len(self._templates) >= TEMPLATES_KEPT:
                del self._templates[next(iter(self._templates))]
            self._templates[issue_id] = edition
        template, on_uncertain = self._templates[issue_id]
        # Failures in a row are counted from slice to slice: a dead relay ends each slice at its first fault.
        breaker = self._breakers.setdefault(issue_id, Breaker())
        return Run(issue_id, template, on_uncertain, self._ledger, self._relay, breaker)

    async def _deliver(self, run: Run) -> None:
        """Keep this issue's share of the lanes busy until the slice ends or nothing is due."""
        until = time.monotonic() + self.limits.slice_seconds
        await self._deliver_suspects(run, until)
        lanes: set[asyncio.Task[None]] = set()
        try:
            while True:
                over = self._over(run, until)
                while len(lanes) < self._share() and not (run.exhausted or over):
                    lanes.add(asyncio.ensure_future(self._lane(run, until, index=len(lanes))))
                if over or not lanes:
                    return
                # Without a proven relay one lane goes first; look again soon whether the others may follow.
                seconds = TOP_UP_SECONDS if self._relay.proven else FIRST_LANE_SECONDS
                done, lanes = await asyncio.wait(lanes, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for lane in done:
                    lane.result()
        finally:
            run.stop()
            if lanes:
                await self._part_with(lanes)

    async def _part_with(self, lanes: set[asyncio.Task[None]]) -> None:
        """Let lanes end; one whose mail the relay keeps waiting must not keep the issue from its next slice."""
        done, late = await asyncio.wait(lanes, timeout=STRAGGLER_SECONDS)
        for lane in late:
            self._stragglers.add(lane)
            lane.add_done_callback(self._stragglers.discard)
        for lane in done:
            lane.result()

    async def _outlast_stragglers(self) -> None:
        if self._stragglers:
            await asyncio.wait(self._stragglers)

    def _share(self) -> int:
        if not self._relay.proven:
            return 1
        return max(1, (self.limits.lanes - len(self._stragglers)) // max(1, len(self._serving)))

    def _over(self, run: Run, until: float) -> bool:
        return (
            run.stopped
            or self._draining
            or self._solo.locked()
            or time.monotonic() >= until
            or bool(self._relay.resting)
        )

    async def _lane(self, run: Run, until: float, *, index: int) -> None:
        def over() -> bool:
            # When another issue has come, the lanes beyond this one's share make room.
            return self._over(run, until) or (self._relay.proven and index >= self._share())

        self._lanes += 1
        try:
            await Lane(run, functools.partial(self._claim, claim, run.issue_id), over).work()
        finally:
            self._lanes -= 1

    async def _deliver_suspects(self, run: Run, until: float) -> None:
        suspects = await self._claim(claim_suspect, run.issue_id)
        if not suspects:
            return
        run.ledger.hold({row.delivery_id: row.lease_token for row in suspects})

        async def one_by_one(_limit: int) -> list[Claimed]:
            taken = suspects.copy()
            suspects.clear()
            return taken or await self._claim(claim_suspect, run.issue_id)

        def over() -> bool:
            return run.stopped or self._draining or time.monotonic() >= until

        async with self._solo:
            patience = time.monotonic() + SOLO_PATIENCE_SECONDS
            while self._lanes and time.monotonic() < patience:  # noqa: ASYNC110  # suspects are rare
                await asyncio.sleep(SOLO_WAIT_SECONDS)
            # Behind a mail that the relay keeps waiting, all others must not wait as well.
            if not self._lanes:
                await Lane(run, one_by_one, over).work()
        if suspects:
            await run.ledger.turn([release(row) for row in suspects])
        run.exhausted = False

    async def _claim(self, how: Callable[[int, int], list[Claimed]], issue_id: int, limit: int = 1) -> list[Claimed]:
        return await self._in_database(functools.partial(how, issue_id, limit))

    async def _finish(self, run: Run) -> None:
        if run.breaker == Breaker() and not self._stragglers:
            self._breakers.pop(run.issue_id, None)
        if run.breaker.tripped:
            reason, detail = run.breaker.tripped, run.breaker.detail[:500]
            log.error("issue_stopped", issue=run.issue_id, reason=reason)
            await self._in_database(functools.partial(stop_issue, run.issue_id, reason=reason, detail=detail))
            self._breakers.pop(run.issue_id, None)

    async def _in_database(self, function: Callable[[], T]) -> T:
        return await self.loop.run_in_executor(self._database, _with_fresh_connection, function)


def _with_fresh_connection(function: Callable[[], T]) -> T:
    try:
        return function()
    except Exception:
        # The next call must not meet the same dead connection.
        connection.close()
        raise


def _close_connection() -> None:
    connection.close()


def load_edition(issue_id: int) -> tuple[Template, str] | None:
    """Return an issue's frozen template and its newsletter's `on_uncertain`.

    None when there is none, or when another version of Courant froze it: during a rolling deploy its own workers
    can read it, and the clock goes on ringing for them.
    """
    found: Any = (
        Edition.objects.filter(issue_id=issue_id).values_list("template", "issue__newsletter__on_uncertain").first()
    )
    if found is None:
        return None
    try:
        return Template.from_bytes(bytes(found[0])), found[1]
    except (ValueError, LookupError, TypeError) as error:
        log.warning("edition_unreadable", issue=issue_id, error=type(error).__name__)
        return None


def stop_issue(issue_id: int, *, reason: str, detail: str) -> bool:
    """Pause a sending issue whose mails cannot go out, or block it when they cannot even be composed.

    False when it was not sending.
    """
    target = IssueState.BLOCKED if reason == COMPOSITION_FAILED else IssueState.PAUSED
    return Issue.objects.filter(pk=issue_id).move(
        [IssueState.SENDING], target, state_reason=reason, state_detail=detail
    )
