"""What goes into the ledger's statements and comes out of them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


# Claimed, Gate and Settlement are not frozen: they are made for every mail, and freezing triples the cost.
@dataclass(slots=True)
class Claimed:
    """A ledger row that a lane holds. `address` is None when the subscriber is gone."""

    delivery_id: int
    lease_token: uuid.UUID
    subscription_id: int | None
    address: str | None
    attempts: int
    uncertain_outcomes: int
    merge: Mapping[str, str | None]


@dataclass(slots=True)
class Gate:
    """A request for permission to attempt one mail; `intent_id` is fresh for each attempt."""

    delivery_id: int
    lease_token: uuid.UUID
    intent_id: uuid.UUID

    def values(self) -> tuple[int, uuid.UUID, uuid.UUID]:
        """Return what the gate's statement takes, in its order."""
        return self.delivery_id, self.lease_token, self.intent_id


@dataclass(slots=True)
class Settlement:
    """How an attempt ended, or that a claimed row is given back.

    `state` is a DeliveryState value; `delay` is in seconds and counts for `queued` only. `sent` needs
    only `intent_id` to match; every other state needs the lease. `counted` is 1 when the attempt counts
    for the schedule, `uncertain` 1 when the relay may have taken the mail. `suppress_after` is the
    number of bounced issues after which the address is suppressed; 0 for never.
    """

    delivery_id: int
    lease_token: uuid.UUID
    intent_id: uuid.UUID
    state: str
    delay: float = 0.0
    counted: int = 0
    uncertain: int = 0
    reason: str | None = None
    reply_phase: str | None = None
    reply_code: int | None = None
    reply_status: str | None = None
    reply_text: str | None = None
    suppress_after: int = 0

    @property
    def is_plainly_sent(self) -> bool:
        """Whether it says nothing but that the relay took the mail, as nearly all do."""
        return (
            self.state == "sent"
            and self.counted == 1
            and self.reply_phase == "dot"
            and self.reason is None
            and not self.uncertain
        )

    def values(self) -> tuple[Any, ...]:
        """Return the twelve values that the settling statement takes, in its order."""
        return (
            self.delivery_id,
            self.lease_token,
            self.intent_id,
            self.state,
            float(self.delay),
            self.counted,
            self.uncertain,
            self.reason,
            self.reply_phase,
            self.reply_code,
            self.reply_status,
            self.reply_text,
        )


@dataclass(frozen=True, slots=True)
class Refused:
    """What the gate saw of a row it refused; None for what is not there."""

    delivery_id: int
    held: bool
    issue_state: str
    subscription_state: str | None
    suppressed: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """One step of a fan-out: subscriptions looked at, rows inserted, the last subscription's id."""

    looked_at: int
    inserted: int
    last_id: int | None


class Dialect(Protocol):
    """The ledger's statements. Each call but `fan_out` is one transaction of its own."""

    def claim(self, issue_id: int, *, limit: int, lease_seconds: int, suspects: bool) -> list[Claimed]:
        """Take due rows of a sending issue, oldest first; `suspects` takes rows that killed a worker instead."""

    def turn(self, settlements: Sequence[Settlement], gates: Sequence[Gate]) -> set[int]:
        """Settle, then gate, in one transaction; returns the ids of the rows that may be attempted."""

    def refusals(self, gates: Sequence[Gate]) -> list[Refused]:
        """Say why rows were refused by the gate."""

    def renew(self, held: Mapping[int, uuid.UUID], *, lease_seconds: int) -> None:
        """Prolong the leases of rows still being worked on."""

    def fan_out(self, issue_id: int, *, after: int, limit: int, state: str, merge_fields: Sequence[str]) -> Chunk:
        """Insert the next rows of an issue's ledger, in the caller's transaction."""

    def tell_planner(self) -> None:
        """Make the database's planner know that the ledger has rows; to be called when a fan-out has begun."""
