"""A lane: a coroutine that delivers one mail at a time over its own SMTP connection."""

from __future__ import annotations

import asyncio
import collections
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
from django.conf import settings

from newsletters.delivery.allow_list import is_allowed
from newsletters.delivery.breaker import Breaker
from newsletters.delivery.compose import Mail, Recipient, Template
from newsletters.delivery.dialects import Claimed, Gate, Settlement
from newsletters.delivery.ledger import GateAnswer, Ledger, settle_refused
from newsletters.delivery.relay import RelayPool
from newsletters.delivery.replies import Outcome, Suppress, Verdict, delay_after
from newsletters.delivery.smtp import Connection, RelayFaultError
from newsletters.models import DeliveryState, OnUncertain

log = structlog.get_logger(__name__)

MAX_UNCERTAIN_OUTCOMES = 2
# A small issue spreads over all lanes; a large one soon claims in full batches.
FIRST_BATCH, FULL_BATCH = 6, 50
# What waits behind a mail that takes longer goes to other lanes.
PATIENCE_SECONDS = 5.0
# Rows given back without an attempt settle by their lease alone.
NO_INTENT = uuid.UUID(int=0)
SUPPRESS_AFTER = {Suppress.NEVER: 0, Suppress.NOW: 1, Suppress.AFTER_THREE_ISSUES: 3}


@dataclass
class Run:
    """One issue being delivered by one process: what its lanes share."""

    issue_id: int
    template: Template
    on_uncertain: str
    ledger: Ledger
    relay: RelayPool
    breaker: Breaker
    exhausted: bool = False
    stopped: bool = False

    def stop(self) -> None:
        """Make every lane end after the mail in its hands."""
        self.stopped = True


@dataclass
class Lane:
    """`claim` brings at most so many rows; `over` is asked before each mail whether to end."""

    run: Run
    claim: Callable[[int], Awaitable[list[Claimed]]]
    over: Callable[[], bool]
    _batch: int = FIRST_BATCH
    _connection: Connection | None = None
    _settled: list[Settlement] = field(default_factory=list)
    _given_back: set[asyncio.Task[GateAnswer]] = field(default_factory=set)

    async def work(self) -> None:
        """Deliver until nothing is due or `over`; whatever happens, settle the last mail and release the rest."""
        rows: collections.deque[Claimed] = collections.deque()
        try:
            while not self.over():
                rows.extend(await self.claim(self._batch))
                self._batch = min(self._batch * 2, FULL_BATCH)
                if not rows:
                    self.run.exhausted = True
                    return
                self.run.ledger.hold({row.delivery_id: row.lease_token for row in rows})
                while rows and not self.over():
                    await self._deliver(rows)
        finally:
            self._settled += [release(row) for row in rows]
            if self._settled:
                await self.run.ledger.turn(self._settled)
            await asyncio.gather(*self._given_back)
            if self._connection is not None:
                self.run.relay.release(self._connection)

    async def _deliver(self, rows: collections.deque[Claimed]) -> None:
        """Take the first row through gate and SMTP; the row leaves `rows` only when its fate is known."""
        row = rows[0]
        unwanted = _unwanted(row)
        if unwanted is not None:
            self._settled.append(_close(row, DeliveryState.SUPPRESSED, unwanted))
            rows.popleft()
            return
        if not await self._connect(row):
            return
        gate = Gate(row.delivery_id, row.lease_token, fresh_intent())
        settled, self._settled = self._settled, []
        answer = await self.run.ledger.turn(settled, gate)
        rows.popleft()
        if answer is not GateAnswer.PERMITTED:
            refused = settle_refused(answer, gate)
            if refused is not None:
                self._settled.append(refused)
            if answer in (GateAnswer.NOT_SENDING, GateAnswer.CANCELLED):
                self.run.stop()
            return
        # Only now: a mail that kills its worker while it is composed must count as a kill.
        mail = self._compose(row)
        if mail is None:
            return
        outcome = await self._attempt(mail, gate, rows)
        self._note(outcome, row)
        self._settled.append(settlement(row, gate.intent_id, outcome, on_uncertain=self.run.on_uncertain))

    async def _attempt(self, mail: Mail, gate: Gate, rows: collections.deque[Claimed]) -> Outcome:
        assert self._connection is not None
        patience = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, self._give_back, rows)
        try:
            return await self._connection.send(mail)
        except Exception:
            # Nobody knows how far it came: renewed no more, its lease runs out and the rescue flags the row.
            self.run.ledger.let_go([gate])
            self._connection.close()
            self._connection = None
            raise
        finally:
            patience.cancel()

    def _give_back(self, rows: collections.deque[Claimed]) -> None:
        releases = [release(row) for row in rows]
        rows.clear()
        if releases:
            self._given_back.add(asyncio.ensure_future(self.run.ledger.turn(releases)))

    def _compose(self, row: Claimed) -> Mail | None:
        """Return the mail, or None when the row is held because its mail cannot be written."""
        assert row.address is not None
        assert row.subscription_id is not None
        merge = {tag: value for tag, value in row.merge.items() if value}
        try:
            return self.run.template.compose(Recipient(row.delivery_id, row.subscription_id, row.address, merge))
        except Exception:
            # One reader's values must not stop the others; a person looks at the held row.
            log.exception("composition_failed", delivery=row.delivery_id)
            self.run.breaker.note_composition_failure()
            if self.run.breaker.tripped:
                self.run.stop()
            self._settled.append(_close(row, DeliveryState.HELD, "composition_failed"))
            return None

    async def _connect(self, row: Claimed) -> bool:
        """Have a usable connection before the gate, so that a dead relay leaves no uncertain row."""
        if self._connection is not None and self._connection.usable:
            return True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        try:
            self._connection = await self.run.relay.acquire()
        except RelayFaultError as error:
            self._note_breaker(error.outcome, row)
            self.run.stop()
            return False
        return True

    def _note(self, outcome: Outcome, row: Claimed) -> None:
        if outcome.verdict is Verdict.RELAY_FAULT:
            self.run.relay.fail(outcome)
            self.run.stop()
        else:
            self.run.relay.succeed()
        self._note_breaker(outcome, row)

    def _note_breaker(self, outcome: Outcome, row: Claimed) -> None:
        self.run.breaker.note(outcome, (row.address or "").rpartition("@")[2])
        if self.run.breaker.tripped:
            self.run.stop()


def _unwanted(row: Claimed) -> str | None:
    """Return why nobody needs to ask the gate for this row; None when it is to be attempted."""
    if row.address is None or row.subscription_id is None:
        return "erased"
    return None if is_allowed(row.address) else "not_on_allow_list"


def fresh_intent() -> uuid.UUID:
    """Return a new intent id; it must be unique, not secret, and `uuid4` asks the kernel each time."""
    return uuid.UUID(int=random.getrandbits(128))


def settlement(row: Claimed, intent_id: uuid.UUID, outcome: Outcome, *, on_uncertain: str) -> Settlement:
    """Return what the ledger writes for an outcome (design: "What a reply means")."""
    state, delay, counted, reason = DeliveryState.QUEUED, 0.0, 0, outcome.reason
    uncertain = int(outcome.verdict is Verdict.UNCERTAIN)
    if outcome.verdict is Verdict.SENT:
        state, counted = DeliveryState.SENT, 1
    elif outcome.verdict is Verdict.BOUNCED:
        state, counted = DeliveryState.BOUNCED, 1
    elif outcome.verdict in (Verdict.DEFERRED, Verdict.UNCERTAIN):
        counted = 1
        wait = delay_after(row.attempts + 1, scale=settings.RETRY_SCALE_PERCENT / 100)
        if uncertain and (row.uncertain_outcomes + 1 >= MAX_UNCERTAIN_OUTCOMES or on_uncertain == OnUncertain.HOLD):
            state, reason = DeliveryState.HELD, "uncertain"
        elif wait is None:
            state, reason = DeliveryState.EXPIRED, "schedule_ended"
        else:
            delay = wait
    reply = outcome.reply
    return Settlement(
        row.delivery_id,
        row.lease_token,
        intent_id,
        state,
        delay=delay,
        counted=counted,
        uncertain=uncertain,
        reason=reason,
        reply_phase=outcome.phase.value,
        reply_code=reply.code if reply else None,
        reply_status=reply.status if reply else None,
        reply_text=reply.text if reply else None,
        suppress_after=SUPPRESS_AFTER[outcome.suppress],
    )


def release(row: Claimed) -> Settlement:
    """Return what gives a claimed row back, due at once, with no attempt counted."""
    return Settlement(row.delivery_id, row.lease_token, NO_INTENT, DeliveryState.QUEUED)


def _close(row: Claimed, state: DeliveryState, reason: str) -> Settlement:
    return Settlement(row.delivery_id, row.lease_token, NO_INTENT, state, reason=reason)
