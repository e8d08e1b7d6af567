"""What delivery tests do again and again: start an issue, claim its rows, permit and settle them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from newsletters.delivery.courier import Courier, Limits
from newsletters.delivery.dialects import Claimed, Gate, Settlement, dialect
from newsletters.models import Delivery, Issue, IssueState, Newsletter
from newsletters.publishing import sending
from newsletters.publishing.fan_out import fan_out
from tests.cast import make_issue, make_newsletter, make_reader

LIMITS = Limits(lanes=4, issues=4, slice_seconds=120, lease_seconds=600)
# The fixture `deliver`.
Deliver = Callable[..., Courier]


def start(newsletter: Newsletter, **fields: Any) -> Issue:
    """Return an issue that is sending, its audience frozen now and its ledger complete."""
    issue = make_issue(newsletter, **fields)
    begin(issue)
    fan_out(issue.pk)
    issue.refresh_from_db()
    return issue


def prove(courier: Courier) -> None:
    """Make a courier take the relay for one that takes every issue's mails."""
    courier._relay.proven = True
    courier._trials.proven = lambda _: True  # type: ignore[method-assign,assignment]


def begin(issue: Issue) -> None:
    """Move a draft to `sending` without an edition, fanned out by the caller."""
    assert Issue.objects.filter(pk=issue.pk).move([IssueState.DRAFT], IssueState.SENDING, started_at=Now())


def send(newsletter: Newsletter) -> Issue:
    """Return an issue that is sending what an editor's click froze."""
    issue = make_issue(newsletter)
    sending.send(issue.pk)
    fan_out(issue.pk)
    return issue


def send_to_one() -> Issue:
    """Return an issue that is sending to the one reader of its newsletter."""
    newsletter = make_newsletter()
    make_reader(newsletter)
    return send(newsletter)


def states(issue: Issue) -> dict[str, int]:
    """Count an issue's ledger rows by state."""
    found: dict[str, int] = {}
    for state in Delivery.objects.filter(issue=issue).values_list("state", flat=True):
        found[state] = found.get(state, 0) + 1
    return found


def claim(issue: Issue, limit: int = 50, *, suspects: bool = False, lease_seconds: int = 60) -> list[Claimed]:
    return dialect().claim(issue.pk, limit=limit, lease_seconds=lease_seconds, suspects=suspects)


def gate_of(row: Claimed) -> Gate:
    return Gate(row.delivery_id, row.lease_token, uuid.uuid4())


def permit(row: Claimed) -> Gate:
    """Pass a row through the gate, which must let it."""
    gate = gate_of(row)
    assert dialect().turn([], [gate]) == {row.delivery_id}
    return gate


def settle(gate: Gate, state: str, **fields: Any) -> None:
    dialect().turn([Settlement(gate.delivery_id, gate.lease_token, gate.intent_id, state, **fields)], [])


def row_of(delivery_id: int) -> Delivery:
    return Delivery.objects.get(pk=delivery_id)


def expire_leases() -> None:
    """Make every lease look as if its worker had died long ago."""
    with transaction.atomic():
        Delivery.objects.filter(lease_until__isnull=False).update(lease_until="2020-01-01T00:00:00Z")
