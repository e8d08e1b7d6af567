"""The ledger: group commit of outcomes and permissions.

Lanes put (settlements, gate) on a queue and await the answer. One thread with its own database
connection takes whatever has gathered, commits it as settle-then-gate in one transaction, and answers.
There is no timer: a batch is what arrived during the last commit. While the database is away the thread
keeps the outcomes in memory and tries again, and no lane starts another mail (fail-stop).
"""

from __future__ import annotations

import asyncio
import enum
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, connection

from newsletters.delivery.dialects import Gate, Refused, Settlement, dialect
from newsletters.models import DeliveryState, IssueState, SubscriptionState

log = structlog.get_logger(__name__)

MAX_BATCH = 1000
RETRY_SECONDS = 0.5


class GateAnswer(enum.StrEnum):
    """Whether a mail may be attempted, or why not."""

    PERMITTED = "permitted"
    LEASE_LOST = "lease_lost"
    NOT_SENDING = "not_sending"
    CANCELLED = "issue_cancelled"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"
    ERASED = "erased"


@dataclass(slots=True)
class Turn:
    """One lane's request: rows to settle and at most one to gate, and the future that gets the answer."""

    settlements: Sequence[Settlement]
    gate: Gate | None
    future: asyncio.Future[GateAnswer]


class Ledger:
    """The thread and its queue. `turn` is awaited on `loop`; everything else happens in the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, lease_seconds: int) -> None:
        self._loop = loop
        self._lease_seconds = lease_seconds
        self._queue: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        self._held: dict[int, uuid.UUID] = {}
        self._renew_at = time.monotonic() + lease_seconds / 4
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, seconds: float = 20.0) -> None:
        """Commit what is queued, then end the thread; after so many seconds the process goes without it."""
        self._queue.put(None)
        self._thread.join(timeout=seconds)

    def hold(self, rows: Mapping[int, uuid.UUID]) -> None:
        """Keep renewing the leases of these rows (delivery id to lease token) until they are settled."""
        self._held.update(rows)

    def let_go(self, ended: Iterable[Settlement | Gate]) -> None:
        """Renew these claims no more; a later claim of the same row stays held."""
        for claim in ended:
            if self._held.get(claim.delivery_id) == claim.lease_token:
                del self._held[claim.delivery_id]

    async def turn(self, settlements: Sequence[Settlement], gate: Gate | None = None) -> GateAnswer:
        """Settle rows and ask to attempt one; returns when both are committed.

        Without a gate the answer is PERMITTED. A lost lease is answered, never raised.
        """
        future: asyncio.Future[GateAnswer] = self._loop.create_future()
        self._queue.put(Turn(settlements, gate, future))
        return await future

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._gather()
            if batch:
                self._commit(batch)
            if time.monotonic() >= self._renew_at:
                self._renew()
        connection.close()

    def _gather(self) -> tuple[list[Turn], bool]:
        """Return what has come in, waiting for a first turn until renewal is due; True to stop."""
        batch: list[Turn] = []
        try:
            turn = self._queue.get(timeout=max(0.01, self._renew_at - time.monotonic()))
            while turn is not None:
                batch.append(turn)
                if len(batch) == MAX_BATCH:
                    break
                turn = self._queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, turn is None

    def _commit(self, batch: list[Turn]) -> None:
        settlements = _last_words(settlement for turn in batch for settlement in turn.settlements)
        gates = [turn.gate for turn in batch if turn.gate]
        while True:
            try:
                permitted = dialect().turn(settlements, gates)
                refused = [gate for gate in gates if gate.delivery_id not in permitted]
                reasons = {r.delivery_id: r for r in dialect().refusals(refused)} if refused else {}
                break
            except (DataError, IntegrityError) as error:
                self._commit_apart(batch, error)
                return
            except (DatabaseError, InterfaceError) as error:
                # Repeating is safe even after an ambiguous COMMIT: each settlement names its intent or
                # lease, and each gate writes the same intent again.
                log.warning("ledger_commit_failed", error=type(error).__name__, outcomes=len(settlements))
                connection.close()
                time.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001  # every lane waits for this thread: it must outlive any mistake
                connection.close()
                self._commit_apart(batch, error)
                return
        self.let_go(settlements)
        answers = []
        for turn in batch:
            answer = _answer(turn.gate, permitted, reasons) if turn.gate else GateAnswer.PERMITTED
            if turn.gate and answer is GateAnswer.LEASE_LOST:
                self.let_go([turn.gate])
            answers.append((turn.future, answer))
        self._loop.call_soon_threadsafe(_deliver, answers)

    def _commit_apart(self, batch: list[Turn], error: Exception) -> None:
        """Find the turn that the database cannot store, so that it stops no other."""
        if len(batch) > 1:
            middle = len(batch) // 2
            self._commit(batch[:middle])
            self._commit(batch[middle:])
            return
        # Its leases run out, and the rescue flags the row: nothing is lost and nothing hidden.
        (turn,) = batch
        self.let_go([*turn.settlements, *([turn.gate] if turn.gate else [])])
        log.error("ledger_turn_refused", error=type(error).__name__)
        self._loop.call_soon_threadsafe(_deliver, [(turn.future, GateAnswer.LEASE_LOST)])

    def _renew(self) -> None:
        self._renew_at = time.monotonic() + self._lease_seconds / 4
        held = self._held.copy()
        if not held:
            return
        try:
            dialect().renew(held, lease_seconds=self._lease_seconds)
        except (DatabaseError, InterfaceError) as error:
            log.warning("lease_renewal_failed", error=type(error).__name__, rows=len(held))
            connection.close()
            self._renew_at = time.monotonic() + RETRY_SECONDS


def _last_words(settlements: Iterable[Settlement]) -> list[Settlement]:
    """Keep one settlement for each delivery: `sent` before any other, else the latest."""
    kept: dict[int, Settlement] = {}
    for settlement in settlements:
        before = kept.get(settlement.delivery_id)
        if before is None or before.state != DeliveryState.SENT:
            kept[settlement.delivery_id] = settlement
    return list(kept.values())


def _answer(gate: Gate, permitted: set[int], reasons: Mapping[int, Refused]) -> GateAnswer:
    if gate.delivery_id in permitted:
        return GateAnswer.PERMITTED
    seen = reasons.get(gate.delivery_id)
    if seen is None or not seen.held:
        return GateAnswer.LEASE_LOST
    causes = (
        (GateAnswer.CANCELLED, seen.issue_state == IssueState.CANCELLED),
        (GateAnswer.NOT_SENDING, seen.issue_state != IssueState.SENDING),
        (GateAnswer.ERASED, seen.subscription_state is None),
        (GateAnswer.SUPPRESSED, seen.suppressed),
        (GateAnswer.UNSUBSCRIBED, seen.subscription_state != SubscriptionState.ACTIVE),
    )
    # When none holds, the world changed between the two statements; giving the row back asks again.
    return next((answer for answer, holds in causes if holds), GateAnswer.NOT_SENDING)


def settle_refused(answer: GateAnswer, gate: Gate) -> Settlement | None:
    """Return what becomes of a row that the gate refused; None when it is somebody else's now."""
    if answer is GateAnswer.LEASE_LOST:
        return None
    state = DeliveryState.SUPPRESSED
    if answer is GateAnswer.NOT_SENDING:
        state = DeliveryState.QUEUED
    elif answer is GateAnswer.CANCELLED:
        state = DeliveryState.CANCELLED
    return Settlement(
        gate.delivery_id,
        gate.lease_token,
        gate.intent_id,
        state,
        reason=None if state is DeliveryState.QUEUED else answer.value,
    )


def _deliver(answers: list[tuple[asyncio.Future[GateAnswer], GateAnswer]]) -> None:
    for future, answer in answers:
        if not future.done():
            future.set_result(answer)
