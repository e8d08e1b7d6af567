"""Sending: the moves of an issue that a person or the clock makes. Each is one transaction.

`actor` is the person or program that asks, for the audit log; None when nobody does, as when the clock starts an issue.
"""

from __future__ import annotations

import datetime

import structlog
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Case, F, When
from django.db.models.functions import Now

from accounts import audit
from accounts.audit import Actor
from core.database import database_now
from core.errors import ConflictError, CourantError, InvalidError, NotFoundError, invalid_field
from core.restore_guard import blocked, require_unblocked
from newsletters.delivery import restore_watch
from newsletters.delivery.breaker import COMPOSITION_FAILED
from newsletters.models import Issue, IssueState, Subscription, SubscriptionState
from newsletters.models.issue import IssueQuerySet
from newsletters.publishing.freezing import freeze
from newsletters.publishing.senders import is_usable

log = structlog.get_logger(__name__)

SENDABLE = (IssueState.DRAFT, IssueState.SCHEDULED)
STOPPABLE = (IssueState.SENDING, IssueState.PAUSED, IssueState.BLOCKED)
LONGEST_SCHEDULE = datetime.timedelta(days=366)


def send(issue_id: int, *, actor: Actor | None = None) -> None:
    """Start an issue now: freeze what goes out and to whom; workers do the rest.

    Raises ConflictError `issue_not_sendable` unless it is a draft or scheduled, `sending_blocked` while a
    restored database waits to be accepted, InvalidError
    `issue_has_no_content`, `audience_is_empty` or `sender_not_verified`.
    """
    with transaction.atomic():
        issue = _locked(issue_id)
        if issue.state not in SENDABLE:
            raise ConflictError(
                "issue_not_sendable", f"The issue is {issue.state}; only a draft or a scheduled issue can be sent."
            )
        check_ready(issue)
        started_at = database_now()
        freeze(issue, started_at=started_at)
        if not _one(issue_id).move(SENDABLE, IssueState.SENDING, started_at=started_at):
            raise ConflictError("issue_not_sendable", "The issue has just been started by somebody else.")
        require_unblocked()
        _record(issue_id, "issue.started", actor)
    log.info("issue_started", issue=issue_id)


def schedule(issue_id: int, *, send_at: datetime.datetime, actor: Actor | None = None) -> None:
    """Have the clock start a draft at `send_at` (aware); a time in the past means at once.

    Raises ConflictError `issue_not_schedulable`, InvalidError as `send`, or `too_far` beyond a year.
    """
    with transaction.atomic():
        issue = _locked(issue_id)
        if issue.state not in SENDABLE:
            raise ConflictError("issue_not_schedulable", f"The issue is {issue.state}; only a draft can be scheduled.")
        check_ready(issue)
        if send_at > database_now() + LONGEST_SCHEDULE:
            raise invalid_field("/send_at", "too_far", "An issue can be scheduled at most one year ahead.")
        if _one(issue_id).move(SENDABLE, IssueState.SCHEDULED, scheduled_at=send_at):
            _record(issue_id, "issue.scheduled", actor, send_at=send_at.isoformat())


@transaction.atomic
def unschedule(issue_id: int, *, actor: Actor | None = None) -> None:
    """Make a scheduled issue, or one that could not start, a draft again.

    Raises ConflictError `issue_not_scheduled`.
    """
    # A scheduled issue that could not start is blocked before its start: mending begins with the draft.
    unstarted = _one(issue_id).filter(started_at__isnull=True)
    if not unstarted.move([IssueState.SCHEDULED, IssueState.BLOCKED], IssueState.DRAFT, scheduled_at=None):
        raise ConflictError("issue_not_scheduled", f"The issue is {_state(issue_id)}, not scheduled.")
    _record(issue_id, "issue.unscheduled", actor)


@transaction.atomic
def pause(issue_id: int, *, actor: Actor | None = None) -> None:
    """Stop sending after the mails in flight; a paused issue stays paused.

    Raises ConflictError `issue_not_pausable`.
    """
    moved = _one(issue_id).move([IssueState.SENDING], IssueState.PAUSED)
    if not moved and _state(issue_id) != IssueState.PAUSED:
        raise ConflictError("issue_not_pausable", f"The issue is {_state(issue_id)}; only a sending one can be paused.")
    if moved:
        _record(issue_id, "issue.paused", actor)


def resume(issue_id: int, *, actor: Actor | None = None) -> None:
    """Go on sending an issue that was paused, or blocked after its start; one that is sending goes on as it is.

    Raises ConflictError `issue_not_resumable`, or `sending_blocked` as `send`.
    """
    started = _one(issue_id).filter(started_at__isnull=False)
    with transaction.atomic():
        moved = started.move([IssueState.PAUSED, IssueState.BLOCKED], IssueState.SENDING)
        require_unblocked()
        if moved:
            _record(issue_id, "issue.resumed", actor)
    if not moved and _state(issue_id) != IssueState.SENDING:
        raise ConflictError(
            "issue_not_resumable", f"The issue is {_state(issue_id)}; only a paused one can be resumed."
        )


@transaction.atomic
def cancel(issue_id: int, *, actor: Actor | None = None) -> None:
    """Stop an issue for good: mails in flight end, all others become `cancelled`. Repeating changes nothing.

    Raises ConflictError `issue_not_cancellable` before the start and after the end.
    """
    # Without a start there is no ledger to close, so the end is now.
    end = Case(When(started_at__isnull=True, then=Now()), default=F("finished_at"))
    moved = _one(issue_id).move(STOPPABLE, IssueState.CANCELLED, finished_at=end)
    if not moved and _state(issue_id) != IssueState.CANCELLED:
        raise ConflictError("issue_not_cancellable", f"The issue is {_state(issue_id)} and cannot be cancelled.")
    if moved:
        _record(issue_id, "issue.cancelled", actor)


def due_issues() -> list[int]:
    """Return the ids of scheduled issues whose time has come."""
    due = Issue.objects.filter(~blocked(), state=IssueState.SCHEDULED, scheduled_at__lte=Now())
    return list(due.values_list("pk", flat=True))


def start_due(issue_id: int) -> None:
    """Start a scheduled issue whose time has come; one that cannot start is `blocked` with the reason.

    Nothing happens before this process has recognised its database.
    """
    if not restore_watch.may_send():
        return
    if not Issue.objects.filter(pk=issue_id, state=IssueState.SCHEDULED, scheduled_at__lte=Now()).exists():
        return
    try:
        send(issue_id)
    except ConflictError as error:
        log.info("issue_not_started", issue=issue_id, reason=error.code)
    except CourantError as error:
        _block(issue_id, error.code, error.detail)
    except (DatabaseError, InterfaceError):
        raise
    except Exception:
        # The clock would ask again four times a second; a person must look at it.
        log.exception("issue_cannot_start", issue=issue_id)
        _block(issue_id, COMPOSITION_FAILED, "The issue cannot be composed; the workers' log says why.")


def _block(issue_id: int, reason: str, detail: str) -> None:
    log.warning("issue_blocked", issue=issue_id, reason=reason)
    _one(issue_id).move([IssueState.SCHEDULED], IssueState.BLOCKED, state_reason=reason, state_detail=detail[:500])


def check_ready(issue: Issue) -> None:
    """Raise InvalidError when an issue could not be sent now."""
    if not issue.body.strip():
        raise InvalidError("issue_has_no_content", "The issue has no content yet.")
    if not is_usable(issue.newsletter.sender):
        raise InvalidError(
            "sender_not_verified",
            f"{issue.newsletter.sender.address} is not verified: open the link that was mailed to it first.",
        )
    active = Subscription.objects.filter(newsletter=issue.newsletter_id, state=SubscriptionState.ACTIVE)
    if not active.exists():
        raise InvalidError("audience_is_empty", "The newsletter has no active reader.")


def _record(issue_id: int, action: str, actor: Actor | None, **detail: str) -> None:
    if actor is None:
        return
    issue = _one(issue_id).select_related("newsletter").only("public_id", "newsletter__publisher_id").get()
    publisher = issue.newsletter.publisher_id
    audit.record(action, actor=actor, publisher_id=publisher, object_type="issue", object_id=issue.uid, detail=detail)


def _one(issue_id: int) -> IssueQuerySet:
    return Issue.objects.filter(pk=issue_id)


def _locked(issue_id: int) -> Issue:
    issue = Issue.objects.select_for_update(of=("self",)).select_related("newsletter__sender").filter(pk=issue_id)
    found = issue.first()
    if found is None:
        raise NotFoundError("not_found", "There is no such issue.")
    return found


def _state(issue_id: int) -> str:
    state = _one(issue_id).values_list("state", flat=True).first()
    if state is None:
        raise NotFoundError("not_found", "There is no such issue.")
    return state
