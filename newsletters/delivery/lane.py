"""A lane: a coroutine that delivers one mail at a time over its own SMTP connection."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import structlog

from newsletters.delivery.breaker import ADDRESS_REASONS
from newsletters.delivery.compose import Mail, Recipient
from newsletters.delivery.dialects import Claimed, Gate, Settlement
from newsletters.delivery.hand import Hand
from newsletters.delivery.ledger import GateAnswer, settle_refused
from newsletters.delivery.outcomes import close, fresh_intent, release, settlement
from newsletters.delivery.pacing import Key
from newsletters.delivery.relay import RelayFullError
from newsletters.delivery.replies import Outcome, Verdict
from newsletters.delivery.run import Run
from newsletters.delivery.smtp import Connection, RelayFaultError
from newsletters.delivery.transaction import CONNECTION_ENDED
from newsletters.models import DeliveryState

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Lane:
    """Takes rows of its run from the hand. `retired` makes it end after the mail in its hands."""

    run: Run
    hand: Hand
    retired: bool = False
    _connection: Connection | None = None
    _settled: list[Settlement] = field(default_factory=list)
    _on_trial: bool = False
    _unreached: Outcome | None = None

    def over(self) -> bool:
        return self.retired or self.run.stopped

    async def work(self) -> None:
        """Deliver until nothing is due or `over`; whatever happens, settle the last mail."""
        try:
            while not self.over():
                taken = self.hand.take()
                if taken is None:
                    await self._rest()
                    taken = await self.hand.wait(self.over)
                if taken is None:
                    return
                await self._deliver(*taken)
        finally:
            await self._rest()

    async def _rest(self) -> None:
        """Keep nothing while there is nothing to do: no outcome untold, no connection."""
        await self._tell()
        if self._connection is not None:
            self.run.relay.release(self._connection)
            self._connection = None

    async def _tell(self) -> None:
        if self._settled:
            settled, self._settled = self._settled, []
            await self.run.ledger.turn(settled)

    async def _deliver(self, row: Claimed, key: Key) -> None:
        """Take a row, and its slot at the destination, through gate and SMTP."""
        outcome, seconds = None, 0.0
        try:
            gate = await self._pass_gate(row, key)
            if gate is None:
                return
            # Only now: a mail that kills its worker while it is composed must count as a kill.
            mail = self._compose(row)
            if mail is None:
                return
            began = time.monotonic()
            outcome = await self._attempt(mail, gate)
            seconds = time.monotonic() - began
            self._note(outcome, key)
            self._settled.append(settlement(row, gate.intent_id, outcome, on_uncertain=self.run.facts.on_uncertain))
        finally:
            pacing = self.run.pacing
            if outcome is None:
                room = pacing.release(key)
            else:
                room = pacing.settle(key, outcome, attempts=row.attempts, seconds=seconds)
            if room:
                self.hand.note_room(key)
            if self._on_trial:
                self._on_trial = False
                # The outcome first: a worker that dies now must leave no doubt about this mail.
                await self._tell()
                await self.run.trials.end(self.run.issue_id, outcome or self._unreached)

    async def _pass_gate(self, row: Claimed, key: Key) -> Gate | None:
        """Return the permission to attempt a row's mail, with a connection ready for it; None when there is none."""
        throttle = self.run.throttle
        try:
            if not throttle.unlimited:
                await self._tell()
            ready = await throttle.permit(self.over)
            if not ready or not await self._may_try() or not await self._connect(key[1]):
                self._settled.append(release(row))
                if ready:
                    throttle.give_back()
                return None
            gate = Gate(row.delivery_id, row.lease_token, fresh_intent())
            settled, self._settled = self._settled, []
            answer = await self.run.ledger.turn(settled, gate)
        except BaseException:
            # Also when it is permitted after all: no mail of it has begun.
            self._settled.append(release(row))
            raise
        if answer is GateAnswer.PERMITTED:
            return gate
        throttle.give_back()
        refused = settle_refused(answer, gate)
        if refused is not None:
            self._settled.append(refused)
        if answer in (GateAnswer.NOT_SENDING, GateAnswer.CANCELLED):
            self.run.stop()
        return None

    async def _may_try(self) -> bool:
        """Take one of the few places for attempts at a relay that is not proven; False when there is none."""
        if self.run.proven:
            return True
        self._unreached = None
        self._on_trial = await self.run.trials.begin(self.run.issue_id)
        if not self._on_trial:
            self.run.stop()
        return self._on_trial

    async def _attempt(self, mail: Mail, gate: Gate) -> Outcome:
        assert self._connection is not None
        try:
            return await self._connection.send(mail)
        except BaseException:
            # Nobody knows how far it came: renewed no more, its lease runs out and the rescue flags the row.
            self.run.ledger.let_go([gate])
            self._connection.close()
            self._connection = None
            raise

    def _compose(self, row: Claimed) -> Mail | None:
        """Return the mail, or None when the row is held because its mail cannot be written."""
        assert row.address is not None
        assert row.subscription_id is not None
        merge = {tag: value for tag, value in row.merge.items() if value}
        recipient = Recipient(row.delivery_id, row.subscription_id, row.address, merge)
        try:
            return self.run.facts.template.compose(recipient)
        except Exception:
            # One reader's values must not stop the others; a person looks at the held row.
            log.exception("composition_failed", delivery=row.delivery_id)
            self.run.breaker.note_composition_failure()
            if self.run.breaker.tripped:
                self.run.stop()
            self._settled.append(close(row, DeliveryState.HELD, "composition_failed"))
            return None

    async def _connect(self, domain: str) -> bool:
        """Have a usable connection before the gate, so that a dead relay leaves no uncertain row."""
        if self._connection is not None and self._connection.usable:
            return True
        # Connecting may take long, and what is known of the mail before must not be lost meanwhile.
        await self._rest()
        try:
            self._connection = await self.run.relay.acquire()
        except RelayFullError:
            self.retired = True
            return False
        except RelayFaultError as error:
            self._unreached = error.outcome
            self.run.trials.doubt(self.run.issue_id)
            self._note_breaker(error.outcome, domain)
            self.run.stop()
            return False
        return True

    def _note(self, outcome: Outcome, key: Key) -> None:
        if outcome.reason in ADDRESS_REASONS:
            # No mail was tried: it says nothing of the relay.
            return
        if outcome.verdict is not Verdict.RELAY_FAULT:
            self.run.relay.succeed()
        elif outcome.reason == CONNECTION_ENDED:
            return
        else:
            self.run.relay.fail(outcome)
            if not self.run.relay.resting:
                # It only wants fewer connections.
                self.retired = True
                return
            self.run.trials.doubt(self.run.issue_id)
            self.run.stop()
        self._note_breaker(outcome, key[1])

    def _note_breaker(self, outcome: Outcome, domain: str) -> None:
        self.run.breaker.note(outcome, domain)
        if self.run.breaker.tripped:
            self.run.stop()
