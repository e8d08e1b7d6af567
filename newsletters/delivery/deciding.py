"""Deciding: what a person does with held rows. Each decision is one transaction, with its line in the audit log.

`held` counts as closed, so deciding never opens an account that adds up. Resending may give a reader a second copy: the
row stays `uncertain`. Whoever decides locks the issue and then its newsletter, in the order of whoever deletes one;
finishing, cancelling and archiving the issue, and deleting its newsletter, wait or are seen.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now

from accounts import audit
from accounts.audit import Actor
from core.errors import ConflictError, NotFoundError
from core.restore_guard import require_unblocked
from newsletters.models import Delivery, DeliveryState, Issue, IssueState
from newsletters.models.delivery import OPEN_STATES

RESENDABLE = (IssueState.SENDING, IssueState.PAUSED, IssueState.BLOCKED, IssueState.SENT)


class Decision(StrEnum):
    """What becomes of a held row: attempted again, taken as sent because a person says so, or given up."""

    RESEND = "resend"
    ACCEPT = "accept"
    DROP = "drop"


PAST = {Decision.RESEND: "resent", Decision.ACCEPT: "accepted", Decision.DROP: "dropped"}
# A row that killed a worker is a suspect still: attempted alone, and held again after two more.
_AGAIN: dict[str, Any] = {
    "state": DeliveryState.QUEUED,
    "next_at": Now(),
    "uncertain_outcomes": 0,
    "kills": models.Case(models.When(kills__gt=0, then=1), default=0),
    "settled_at": None,
}
CHANGES: dict[Decision, dict[str, Any]] = {
    Decision.RESEND: _AGAIN,
    Decision.ACCEPT: {"state": DeliveryState.SENT, "settled_at": Now()},
    Decision.DROP: {"state": DeliveryState.CANCELLED, "settled_at": Now()},
}
# What a row is once its decision has taken effect and nothing else has happened to it.
EFFECTS = {Decision.ACCEPT: (DeliveryState.SENT, "accepted"), Decision.DROP: (DeliveryState.CANCELLED, "dropped")}


@transaction.atomic
def decide(delivery: Delivery, decision: Decision, *, actor: Actor) -> bool:
    """Decide one held row; False when this decision had already taken effect, as resending has for every open row.

    Raises ConflictError `delivery_not_held`, `issue_not_resendable` when the issue is cancelled or archived, or
    `sending_blocked` when a row of a sent issue is to be resent while a restored database waits to be accepted;
    NotFoundError when the newsletter is deleted.
    """
    issue = _locked(delivery.issue_id)
    held = Delivery.objects.filter(pk=delivery.pk)
    was = held.values("state", "reason", "kills", "uncertain").first()
    if was is None:
        raise NotFoundError("not_found", "There is no such object.")
    if _has_effect(decision, state=was["state"], reason=was["reason"]):
        return False
    if was["state"] != DeliveryState.HELD:
        raise ConflictError("delivery_not_held", f"The delivery is {was['state']}; only a held one can be decided.")
    if not _carry_out(issue, held, decision):
        raise ConflictError("delivery_not_held", "The delivery has just been decided by somebody else.")
    _record(issue, decision, actor=actor, kind="delivery", uid=delivery.uid, detail=was | {"issue": issue.uid})
    return True


@transaction.atomic
def decide_all(issue_id: int, decision: Decision, *, actor: Actor) -> int:
    """Decide all held rows of an issue in one statement; returns how many.

    Raises ConflictError `issue_not_resendable` and `sending_blocked`, and NotFoundError, as `decide`.
    """
    issue = _locked(issue_id)
    count = _carry_out(issue, Delivery.objects.filter(issue=issue_id), decision)
    if count:
        _record(issue, decision, actor=actor, kind="issue", uid=issue.uid, detail={"deliveries": count})
    return count


def _has_effect(decision: Decision, *, state: str, reason: str | None) -> bool:
    # An attempt overwrites the reason of a resent row, and a repeated request must not depend on how fast that was.
    return state in OPEN_STATES if decision == Decision.RESEND else (state, reason) == EFFECTS[decision]


def _carry_out(issue: Issue, rows: models.QuerySet[Delivery], decision: Decision) -> int:
    """Change those rows that are held, and reopen a sent issue if any is to be sent again; returns how many."""
    if decision == Decision.RESEND and (issue.state not in RESENDABLE or issue.archived_at is not None):
        raise ConflictError("issue_not_resendable", f"The issue is {issue.state}; nothing of it can be sent again.")
    count = rows.filter(state=DeliveryState.HELD).update(reason=PAST[decision], **CHANGES[decision])
    if count and decision == Decision.RESEND and issue.state == IssueState.SENT:
        Issue.objects.filter(pk=issue.pk).move([IssueState.SENT], IssueState.SENDING, finished_at=None)
        require_unblocked()
    return count


def _locked(issue_id: int) -> Issue:
    """Return the issue, in which nobody else decides, and which nobody finishes, cancels or archives meanwhile.

    Nobody deletes its newsletter meanwhile either. Raises NotFoundError, also when that is deleted.
    """
    # PostgreSQL looks at both rows again once it has them.
    rows = Issue.objects.select_for_update(of=("self", "newsletter"), no_key=True).select_related("newsletter")
    issue = rows.defer("body").filter(pk=issue_id, newsletter__deleted_at__isnull=True).first()
    if issue is None:
        raise NotFoundError("not_found", "There is no such object.")
    return issue


def _record(issue: Issue, decision: Decision, *, actor: Actor, kind: str, uid: str, detail: dict[str, Any]) -> None:
    audit.record(
        f"delivery.{PAST[decision]}",
        actor=actor,
        publisher_id=issue.newsletter.publisher_id,
        object_type=kind,
        object_id=uid,
        detail=detail,
    )
