"""Sending an issue and following it: each action is one guarded move of the issue's state."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Protocol

from ninja import Status
from pydantic import BaseModel, ConfigDict, Field

from accounts.access import ApiRequest
from accounts.audit import Actor, program
from accounts.models import Scope
from core.text_types import Line, StrictInput
from newsletters.api import codes
from newsletters.api.contract import contract
from newsletters.api.issues import IssueOut, State, find_issue
from newsletters.api.once import IDEMPOTENCY_HEADER
from newsletters.api.router import Router
from newsletters.publishing import sending
from newsletters.publishing.progress import measure
from newsletters.publishing.schedule_times import read_send_at

router = Router(tags=["Sending"])

SEND = (*codes.READY, *codes.RENDERED, "not_found", "issue_not_sendable", "sending_blocked")
SCHEDULE = (
    *codes.READY,
    "not_found",
    "issue_not_schedulable",
    "invalid_time",
    "time_does_not_exist",
    "too_far",
)


class ScheduleIn(StrictInput):
    """When to send."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"send_at": "2026-12-24T08:00"}]})

    send_at: Line = Field(
        max_length=40,
        description="RFC 3339, or without an offset in the publisher's time zone. The past means at once; at most one "
        "year ahead.",
        examples=["2026-12-24T08:00", "2026-12-24T08:00:00+01:00"],
    )


class ProgressOut(BaseModel):
    """Where every reader of an issue is.

    Always `audience = queued + sending + sent + bounced + expired + suppressed + cancelled + held`.
    """

    issue_id: str
    state: State
    audience: int = Field(description="Deliveries made so far.")
    fan_out_complete: bool = Field(description="Whether `audience` is everybody.")
    queued: int
    sending: int
    sent: int = Field(description="Accepted by the mail relay.")
    bounced: int = Field(description="Refused for good.")
    expired: int = Field(description="Refused for the time being until the retry schedule (about 4 days) ended.")
    suppressed: int = Field(description="Unsubscribed, suppressed or erased before the mail went out.")
    cancelled: int
    held: int = Field(description="Waiting for a person's decision.")
    uncertain: int = Field(description="Of these, mails that may have arrived twice, because a link broke.")
    accounted: bool = Field(description="Whether the equation holds.")
    rate_per_second: float | None = Field(
        description="Mails settled a second, on average over the time spent sending (pauses excluded)."
    )
    eta_seconds: int | None = Field(description="Seconds to the end at that rate.")
    started_at: datetime | None
    finished_at: datetime | None
    archived_at: datetime | None = Field(description="Since when only the numbers of its deliveries are kept.")


@router.post(
    "/issues/{issue_id}/send",
    **contract(Scope.ISSUES_SEND, IssueOut, *SEND, status=202, parameters=[IDEMPOTENCY_HEADER]),
    operation_id="send_issue",
    summary="Send an issue",
)
def send_issue(request: ApiRequest, issue_id: str) -> Status[IssueOut]:
    """Start now. The first mails leave within a second; follow them with `progress`.

    A second send is 409 `issue_not_sendable`. Without content, an active reader or a verified sender it is 422
    `issue_has_no_content`, `audience_is_empty`, `sender_not_verified`.
    """
    return Status(202, _move(request, issue_id, sending.send))


@router.post(
    "/issues/{issue_id}/schedule",
    **contract(Scope.ISSUES_SEND, IssueOut, *codes.BODY, *SCHEDULE),
    operation_id="schedule_issue",
    summary="Schedule an issue",
)
def schedule_issue(request: ApiRequest, issue_id: str, body: ScheduleIn) -> IssueOut:
    """Send it later; scheduling again moves the time."""
    issue = find_issue(request, issue_id)
    send_at = read_send_at(body.send_at, issue.newsletter.publisher.time_zone)
    sending.schedule(issue.pk, send_at=send_at, actor=program(request, request.auth.key))
    return IssueOut.of(find_issue(request, issue_id))


@router.post(
    "/issues/{issue_id}/unschedule",
    **contract(Scope.ISSUES_SEND, IssueOut, "not_found", "issue_not_scheduled"),
    operation_id="unschedule_issue",
    summary="Take an issue off the schedule",
)
def unschedule_issue(request: ApiRequest, issue_id: str) -> IssueOut:
    """It becomes a draft again."""
    return _move(request, issue_id, sending.unschedule)


@router.post(
    "/issues/{issue_id}/pause",
    **contract(Scope.ISSUES_SEND, IssueOut, "not_found", "issue_not_pausable"),
    operation_id="pause_issue",
    summary="Pause an issue",
)
def pause_issue(request: ApiRequest, issue_id: str) -> IssueOut:
    """No further mail starts; those in flight finish. Pausing a paused issue changes nothing."""
    return _move(request, issue_id, sending.pause)


@router.post(
    "/issues/{issue_id}/resume",
    **contract(Scope.ISSUES_SEND, IssueOut, "not_found", "issue_not_resumable", "sending_blocked"),
    operation_id="resume_issue",
    summary="Resume an issue",
)
def resume_issue(request: ApiRequest, issue_id: str) -> IssueOut:
    """Goes on where it stopped. Resuming an issue that is sending changes nothing."""
    return _move(request, issue_id, sending.resume)


@router.post(
    "/issues/{issue_id}/cancel",
    **contract(Scope.ISSUES_SEND, IssueOut, "not_found", "issue_not_cancellable"),
    operation_id="cancel_issue",
    summary="Cancel an issue",
)
def cancel_issue(request: ApiRequest, issue_id: str) -> IssueOut:
    """Whoever has not got it will not. Cancelling a cancelled issue changes nothing; a sent one is 409."""
    return _move(request, issue_id, sending.cancel)


@router.get(
    "/issues/{issue_id}/progress",
    **contract(Scope.ISSUES_READ, ProgressOut, "not_found"),
    operation_id="get_progress",
    summary="Follow an issue",
)
def get_progress(request: ApiRequest, issue_id: str) -> ProgressOut:
    """The accounting line, the rate and the time that is left."""
    issue = find_issue(request, issue_id)
    return ProgressOut(issue_id=issue.uid, **asdict(measure(issue)))


class _Move(Protocol):
    def __call__(self, issue_id: int, *, actor: Actor | None) -> None: ...


def _move(request: ApiRequest, issue_id: str, step: _Move) -> IssueOut:
    step(find_issue(request, issue_id).pk, actor=program(request, request.auth.key))
    return IssueOut.of(find_issue(request, issue_id))
