"""Decisions on held deliveries: one at a time, or all of an issue."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from accounts.access import ApiRequest
from accounts.audit import program
from accounts.models import Scope
from newsletters.api import visible
from newsletters.api.contract import contract
from newsletters.api.deliveries import DeliveryOut
from newsletters.api.issues import find_issue
from newsletters.api.once import IDEMPOTENCY_HEADER
from newsletters.api.router import Router
from newsletters.delivery.deciding import Decision, decide, decide_all

router = Router(tags=["Deliveries"])


class DecidedOut(BaseModel):
    """How many deliveries were decided."""

    decided: int = Field(description="Held deliveries of the issue that this request decided.")


def _deciding(answer: type[BaseModel], *errors: str) -> dict[str, Any]:
    """Return the contract of a decision; `errors` are those that not all have."""
    errors = ("not_found", "issue_not_resendable", "sending_blocked", *errors)
    return contract(Scope.ISSUES_SEND, answer, *errors, parameters=[IDEMPOTENCY_HEADER])


@router.post(
    "/deliveries/{delivery_id}/resend",
    **_deciding(DeliveryOut, "delivery_not_held"),
    operation_id="resend_delivery",
    summary="Send a held delivery again",
)
def resend(request: ApiRequest, delivery_id: str) -> DeliveryOut:
    """The reader may get a second copy. A sent issue is sending until it is settled.

    One that is queued or being sent stays as it is. 409 `delivery_not_held` once it is sent, bounced or otherwise
    final; 409 `issue_not_resendable` when the issue is cancelled.
    """
    return _one(request, delivery_id, Decision.RESEND)


@router.post(
    "/deliveries/{delivery_id}/accept",
    **_deciding(DeliveryOut, "delivery_not_held"),
    operation_id="accept_delivery",
    summary="Take a held delivery as sent",
)
def accept(request: ApiRequest, delivery_id: str) -> DeliveryOut:
    """Because you know that it arrived, say from the relay's log. Not held: 409 `delivery_not_held`."""
    return _one(request, delivery_id, Decision.ACCEPT)


@router.post(
    "/deliveries/{delivery_id}/drop",
    **_deciding(DeliveryOut, "delivery_not_held"),
    operation_id="drop_delivery",
    summary="Give a held delivery up",
)
def drop(request: ApiRequest, delivery_id: str) -> DeliveryOut:
    """It becomes `cancelled` with the reason `dropped`. Not held: 409 `delivery_not_held`."""
    return _one(request, delivery_id, Decision.DROP)


@router.post(
    "/issues/{issue_id}/held/resend",
    **_deciding(DecidedOut),
    operation_id="resend_held",
    summary="Send all held deliveries of an issue again",
)
def resend_held(request: ApiRequest, issue_id: str) -> DecidedOut:
    """Readers may get a second copy. Of a cancelled issue it is 409 `issue_not_resendable`."""
    return _all(request, issue_id, Decision.RESEND)


@router.post(
    "/issues/{issue_id}/held/accept",
    **_deciding(DecidedOut),
    operation_id="accept_held",
    summary="Take all held deliveries of an issue as sent",
)
def accept_held(request: ApiRequest, issue_id: str) -> DecidedOut:
    """Because you know that they arrived."""
    return _all(request, issue_id, Decision.ACCEPT)


@router.post(
    "/issues/{issue_id}/held/drop",
    **_deciding(DecidedOut),
    operation_id="drop_held",
    summary="Give all held deliveries of an issue up",
)
def drop_held(request: ApiRequest, issue_id: str) -> DecidedOut:
    """They become `cancelled` with the reason `dropped`."""
    return _all(request, issue_id, Decision.DROP)


def _one(request: ApiRequest, delivery_id: str, decision: Decision) -> DeliveryOut:
    row = visible.find_delivery(request.auth, delivery_id)
    decide(row, decision, actor=program(request, request.auth.key))
    return DeliveryOut.of(visible.find_delivery(request.auth, delivery_id))


def _all(request: ApiRequest, issue_id: str, decision: Decision) -> DecidedOut:
    issue = find_issue(request, issue_id)
    return DecidedOut(decided=decide_all(issue.pk, decision, actor=program(request, request.auth.key)))
