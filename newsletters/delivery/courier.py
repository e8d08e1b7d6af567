"""The courier: the lanes of one worker process on one event loop, and what they share.

A process has a fixed number of lanes, divided equally among the issues it is delivering. A row whose
mail was in flight when a worker died is a suspect: it is attempted alone in its process, so that a
mail that kills its worker drags no neighbour into doubt.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

import structlog

from newsletters.delivery.bounds import TEND_SECONDS, Bounds
from newsletters.delivery.breakers import Breakers
from newsletters.delivery.claim import claim, claim_suspect
from newsletters.delivery.database_thread import DatabaseThread
from newsletters.delivery.dialects import Claimed
from newsletters.delivery.edition_shelf import EditionShelf
from newsletters.delivery.editions import look_at
from newsletters.delivery.hand import Hand
from newsletters.delivery.lane import Lane
from newsletters.delivery.ledger import Ledger
from newsletters.delivery.relay import RelayPool
from newsletters.delivery.run import Run
from newsletters.delivery.smtp import Connection
from newsletters.delivery.trials import Trials
from newsletters.delivery.turns import SHORTEST_TURN_SECONDS, Turns

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.1
FIRST_LANE_SECONDS = 0.005
SOLO_WAIT_SECONDS = 0.01
SOLO_PATIENCE_SECONDS = 5.0
# A lane whose mail takes longer than this beyond the slice goes on without it.
STRAGGLER_SECONDS = 1.0
# All that `stop` may take, and what of it is kept for each database thread.
STOP_SECONDS, LAST_WORD_SECONDS = 20.0, 2.0
# While fan-out inserts, or readers are parked, an issue that was busy may be so again in a moment.
LINGER_SECONDS = 1.0
BUSY_ROWS = 500


@dataclass(frozen=True)
class Limits:
    """How much one process takes on: lanes in all, issues at once, seconds for one doorbell, and for a lease."""

    lanes: int
    issues: int
    slice_seconds: float
    lease_seconds: int
    pacing: bool = True


@dataclass
class Courier:
    """Lives as long as the worker process; `serve` is what the `deliver` actor awaits."""

    loop: asyncio.AbstractEventLoop
    limits: Limits
    open_connection: Callable[[], Awaitable[Connection]]
    _stragglers: set[asyncio.Task[None]] = field(default_factory=set)
    _lanes: int = 0
    _draining: bool = False

    def __post_init__(self) -> None:
        self._ledger = Ledger(self.loop, lease_seconds=self.limits.lease_seconds)
        self._relay = RelayPool(self.open_connection)
        self._database = DatabaseThread()
        self._shelf = EditionShelf(self._database.run)
        self._trials = Trials(self._database.run)
        self._breakers = Breakers(self._database.run)
        self._solo = asyncio.Lock()
        self._turns = Turns(self.limits.issues)
        self._bounds = Bounds(self._database.run, pacing=self.limits.pacing)
        self._runs: set[Run] = set()
        self._of_sender: collections.Counter[int] = collections.Counter()
        self._tending: concurrent.futures.Future[None] | None = None

    def start(self) -> None:
        self._ledger.start()
        self._tending = asyncio.run_coroutine_threadsafe(self._tend(), self.loop)

    def drain(self) -> None:
        """Let every lane finish the mail in its hands and give its other rows back."""
        self._draining = True
        self.loop.call_soon_threadsafe(self._stop_runs)

    def stop(self) -> None:
        """Await mails in flight, close connections and end both database threads. Call when no `serve` is running."""
        self._draining = True
        until = time.monotonic() + STOP_SECONDS
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(STOP_SECONDS - 2 * LAST_WORD_SECONDS)
        self.loop.call_soon_threadsafe(self._relay.close)
        self._ledger.stop(seconds=until - LAST_WORD_SECONDS - time.monotonic())
        self._database.stop(seconds=max(0.0, until - time.monotonic()))

    async def serve(self, issue_id: int) -> None:
        """Deliver an issue's due rows for at most a slice; returns at once when there is no room for it.

        Raises DatabaseError when the database cannot be reached for a claim.
        """
        if self._draining or self._solo.locked() or self._relay.resting:
            return
        if len(self._stragglers) >= self.limits.lanes or not self._turns.begin(issue_id):
            return
        try:
            run = await self._begin(issue_id)
            if run is not None:
                # A mail of the slice before may have ended since, and been one failure too many.
                if not run.breaker.tripped:
                    await self._deliver(run)
                stragglers = bool(self._stragglers)
                await self._breakers.finish(issue_id, running=self._turns.running, stragglers=stragglers)
        finally:
            self._turns.end(issue_id)
            if self._draining and not self._turns.running:
                self._relay.close()

    async def _begin(self, issue_id: int) -> Run | None:
        facts = await self._shelf.take(issue_id)
        standing = await self._database.run(functools.partial(look_at, issue_id)) if facts else None
        if facts is None or standing is None:
            return None
        if not (standing.may_try or (self._relay.proven and self._trials.proven(issue_id))):
            return None
        facts = replace(facts, on_uncertain=standing.on_uncertain)
        breaker = self._breakers.of(issue_id, counted=standing.counted)
        throttle = self._bounds.throttle(facts.sender_id)
        pacing, trials = self._bounds.pacing, self._trials
        run = Run(issue_id, facts, self._ledger, self._relay, breaker, pacing, throttle, trials, age=standing.age)
        await self._bounds.know(run)
        return run

    async def _deliver(self, run: Run) -> None:
        """Keep this issue's share of the lanes busy until the slice ends or nothing is due."""
        until = time.monotonic() + self.limits.slice_seconds
        hand = Hand(run, functools.partial(self._claim, claim, run.issue_id))
        lanes: dict[asyncio.Task[None], Lane] = {}
        self._runs.add(run)
        try:
            if not self._is_over(run, until):
                await self._deliver_suspects(run, until)
            while not self._is_over(run, until) and await self._has_work(hand, lanes):
                hand.look_after()
                await self._breakers.tell(run.issue_id, run.breaker)
                if run.breaker.tripped:
                    run.stop()
                    break
                self._adjust(run, hand, lanes)
                # Without a proven relay one lane goes first; look again soon whether the others may follow.
                seconds = TICK_SECONDS if run.proven else FIRST_LANE_SECONDS
                if not lanes:
                    await asyncio.sleep(seconds)
                    continue
                done, _ = await asyncio.wait(lanes, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
                for lane in done:
                    del lanes[lane]
                    lane.result()
        finally:
            run.stop()
            self._runs.discard(run)
            try:
                await self._part_with(lanes)
            finally:
                await hand.put_down()

    async def _has_work(self, hand: Hand, lanes: Collection[object]) -> bool:
        """Tell whether a slice goes on: a busy issue that has run dry may have more in a moment."""
        lately = time.monotonic() - hand.asked_at < LINGER_SECONDS
        if hand.exhausted and (hand.claimed >= BUSY_ROWS or not lately):
            await hand.draw()
        if lanes:
            return True
        lately = time.monotonic() - hand.full_at < LINGER_SECONDS
        return lately and (hand.claimed >= BUSY_ROWS or hand.rows_for_lanes > 0)

    def _adjust(self, run: Run, hand: Hand, lanes: dict[asyncio.Task[None], Lane]) -> None:
        """Start the lanes that this issue may have beside the others, or retire those that it may have no longer."""
        sender = run.facts.sender_id
        connections = self._bounds.connections(sender)
        siblings = sum(other.facts.sender_id == sender for other in self._runs)
        share = min(self._share(run), max(1, connections // siblings))
        spare = min(share - len(lanes), connections - self._of_sender[sender], self._relay.room)
        run.hungry = not lanes and spare <= 0
        for _ in range(min(spare, hand.rows_for_lanes)):
            lane = Lane(run, hand)
            self._of_sender[sender] += 1
            lanes[asyncio.ensure_future(self._work(lane))] = lane
        if spare < 0:
            for lane in [*lanes.values()][spare:]:
                lane.retired = True
            hand.wake()

    async def _work(self, lane: Lane) -> None:
        self._lanes += 1
        try:
            await lane.work()
        finally:
            self._lanes -= 1
            self._of_sender[lane.run.facts.sender_id] -= 1

    def _share(self, run: Run) -> int:
        if not run.proven:
            return 1
        lanes = min(self.limits.lanes - len(self._stragglers), self._relay.most)
        return max(1, lanes // max(1, len(self._turns.running)))

    def _is_over(self, run: Run, until: float) -> bool:
        return (
            run.stopped
            or self._draining
            or self._solo.locked()
            or time.monotonic() >= until
            or bool(self._relay.resting)
            or self._turns.is_to_yield(run.issue_id)
            or self._makes_room(run)
        )

    def _makes_room(self, run: Run) -> bool:
        """Tell whether a run has had long enough what another of its sender, or of a narrow relay, is waiting for."""
        if run.hungry or time.monotonic() - run.began < SHORTEST_TURN_SECONDS:
            return False
        rivals = [other for other in self._runs if other.hungry]
        return any(other.facts.sender_id == run.facts.sender_id or not self._relay.room for other in rivals)

    async def _part_with(self, lanes: Collection[asyncio.Task[None]]) -> None:
        """Let lanes end; one whose mail the relay keeps waiting must not keep the issue from its next slice."""
        if not lanes:
            return
        done, late = await asyncio.wait(lanes, timeout=STRAGGLER_SECONDS)
        for lane in late:
            self._stragglers.add(lane)
            lane.add_done_callback(self._stragglers.discard)
        for lane in done:
            lane.result()

    async def _deliver_suspects(self, run: Run, until: float) -> None:
        # Alone it has whatever connections its sender may have here.
        if not self._bounds.connections(run.facts.sender_id):
            return
        hand = Hand(run, functools.partial(self._claim, claim_suspect, run.issue_id), most=1)
        try:
            if await hand.draw():
                async with self._solo:
                    await self._deliver_alone(Lane(run, hand), until)
        finally:
            await hand.put_down()

    async def _deliver_alone(self, lane: Lane, until: float) -> None:
        patience = time.monotonic() + SOLO_PATIENCE_SECONDS
        while self._lanes and time.monotonic() < patience:  # noqa: ASYNC110  # suspects are rare
            await asyncio.sleep(SOLO_WAIT_SECONDS)
        # Behind a mail that the relay keeps waiting, all others must not wait as well.
        if self._lanes:
            return
        self._of_sender[lane.run.facts.sender_id] += 1
        work = asyncio.ensure_future(self._work(lane))
        while not work.done():
            await asyncio.wait([work], timeout=TICK_SECONDS)
            lane.hand.look_after()
            lane.retired = self._draining or time.monotonic() >= until
            if lane.retired:
                lane.hand.wake()
        work.result()

    async def _claim(self, how: Callable[[int, int], list[Claimed]], issue_id: int, limit: int) -> list[Claimed]:
        return await self._database.run(functools.partial(how, issue_id, limit))

    def _stop_runs(self) -> None:
        for run in self._runs:
            run.stop()

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_SECONDS)
            try:
                await self._trials.keep()
                await self._bounds.tend(self._runs)
            except Exception:
                # Without it, a process would never again hear of a limit.
                log.exception("tending_failed")

    async def _end(self) -> None:
        if self._tending is not None:
            self._tending.cancel()
        if self._stragglers:
            await asyncio.wait(self._stragglers)
        await self._bounds.leave()
