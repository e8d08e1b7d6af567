"""What the ledger is told: from how an attempt ended to what is written (design: "What a reply means")."""

from __future__ import annotations

import random
import uuid

from django.conf import settings

from newsletters.delivery.dialects import Claimed, Settlement
from newsletters.delivery.replies import Outcome, Suppress, Verdict, delay_after
from newsletters.models import DeliveryState, OnUncertain

MAX_UNCERTAIN_OUTCOMES = 2
# Rows given back without an attempt settle by their lease alone.
NO_INTENT = uuid.UUID(int=0)
SUPPRESS_AFTER = {Suppress.NEVER: 0, Suppress.NOW: 1, Suppress.AFTER_THREE_ISSUES: 3}
# Looking a member up in its class costs more than the rest.
_SENT, _SENT_STATE = Verdict.SENT, DeliveryState.SENT.value


def fresh_intent() -> uuid.UUID:
    """Return a new intent id; it must be unique, not secret, and `uuid4` asks the kernel each time."""
    return uuid.UUID(int=random.getrandbits(128))


def settlement(row: Claimed, intent_id: uuid.UUID, outcome: Outcome, *, on_uncertain: str) -> Settlement:
    """Return what the ledger writes for an outcome."""
    reply = outcome.reply
    settled = Settlement(row.delivery_id, row.lease_token, intent_id, _SENT_STATE, counted=1)
    settled.reply_phase = outcome.phase.value
    if reply is not None:
        settled.reply_code, settled.reply_status, settled.reply_text = reply.code, reply.status, reply.text
    settled.reason = outcome.reason
    if outcome.verdict is not _SENT:
        _note_failure(settled, row, outcome, on_uncertain=on_uncertain)
    return settled


def _note_failure(settled: Settlement, row: Claimed, outcome: Outcome, *, on_uncertain: str) -> None:
    settled.state = DeliveryState.QUEUED
    settled.suppress_after = SUPPRESS_AFTER[outcome.suppress]
    if outcome.verdict is Verdict.RELAY_FAULT:
        settled.counted = 0
    elif outcome.verdict is Verdict.BOUNCED:
        settled.state = DeliveryState.BOUNCED
    else:
        uncertain = outcome.verdict is Verdict.UNCERTAIN
        settled.uncertain = int(uncertain)
        wait = delay_after(row.attempts + 1, scale=settings.RETRY_SCALE_PERCENT / 100)
        if uncertain and (row.uncertain_outcomes + 1 >= MAX_UNCERTAIN_OUTCOMES or on_uncertain == OnUncertain.HOLD):
            settled.state, settled.reason = DeliveryState.HELD, "uncertain"
        elif wait is None:
            settled.state, settled.reason = DeliveryState.EXPIRED, "schedule_ended"
        else:
            settled.delay = wait


def release(row: Claimed) -> Settlement:
    """Return what gives a claimed row back, due at once, with no attempt counted."""
    return Settlement(row.delivery_id, row.lease_token, NO_INTENT, DeliveryState.QUEUED)


def park(row: Claimed, *, seconds: float, reason: str) -> Settlement:
    """Return what lets a claimed row wait in the queue, with no attempt counted."""
    return Settlement(row.delivery_id, row.lease_token, NO_INTENT, DeliveryState.QUEUED, delay=seconds, reason=reason)


def close(row: Claimed, state: DeliveryState, reason: str) -> Settlement:
    """Return what ends a claimed row without an attempt."""
    return Settlement(row.delivery_id, row.lease_token, NO_INTENT, state, reason=reason)
