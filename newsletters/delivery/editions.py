"""What a courier must know of an issue before its first mail, and how it stops one."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import models
from django.db.models.functions import Now

from newsletters.delivery.breaker import COMPOSITION_FAILED
from newsletters.delivery.compose import Template
from newsletters.delivery.trials import HAS_ROOM
from newsletters.models import Edition, Issue, IssueState

UNREAD = "edition_unreadable"
COUNTS = ("relay_faults", "policy_refusals", "uncertain_in_a_row", "composition_failures")
_MAY_TRY = models.Case(models.When(HAS_ROOM, then=True), default=False)

# Long enough for the workers of another release to read it, during a rolling deploy.
UNREADABLE = datetime.timedelta(minutes=10)
UNREADABLE_DETAIL = "No worker has been able to read what was frozen of this issue for 10 minutes; their log says why."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """An issue's frozen template, its newsletter's `on_uncertain`, and whose it is."""

    template: Template
    on_uncertain: str
    publisher_id: int
    sender_id: int


def load_edition(issue_id: int) -> Facts | None:
    """Return what was frozen of an issue.

    None when there is none, or when another version of Courant froze it: during a rolling deploy its own workers
    can read it, and the clock goes on ringing for them.
    """
    found: Any = (
        Edition.objects.filter(issue_id=issue_id)
        .values_list(
            "template",
            "issue__newsletter__on_uncertain",
            "issue__newsletter__publisher_id",
            "issue__newsletter__sender_id",
        )
        .first()
    )
    template = read_template(issue_id, bytes(found[0])) if found is not None else None
    return Facts(template, *found[1:]) if template is not None else None


def read_template(issue_id: int, stored: bytes) -> Template | None:
    """Return the template of an edition; None when this release cannot read it."""
    try:
        return Template.from_bytes(stored)
    except (ValueError, LookupError, TypeError) as error:
        log.warning("edition_unreadable", issue=issue_id, error=type(error).__name__)
        return None


def note_unreadable(issue_id: int) -> None:
    """Note that this process cannot read the edition of a sending issue; blocks one that nobody has read for long."""
    sending = Issue.objects.filter(pk=issue_id, state=IssueState.SENDING)
    given_up = sending.filter(unread_since__lte=Now() - UNREADABLE)
    if given_up.move([IssueState.SENDING], IssueState.BLOCKED, state_reason=UNREAD, state_detail=UNREADABLE_DETAIL):
        log.error("issue_stopped", issue=issue_id, reason=UNREAD)
    else:
        sending.filter(unread_since__isnull=True).update(unread_since=Now())


def note_readable(issue_id: int) -> None:
    """Note that this process can read an edition, whoever cannot."""
    Issue.objects.filter(pk=issue_id, unread_since__isnull=False).update(unread_since=None)


@dataclass(frozen=True, slots=True)
class Standing:
    """What may change from slice to slice.

    Seconds sending, pauses excluded; the newsletter's `on_uncertain`; whether failures in a row are counted; whether
    an attempt may begin at a relay that has not taken a mail of this issue yet.
    """

    age: float
    on_uncertain: str
    counted: bool
    may_try: bool


def look_at(issue_id: int) -> Standing | None:
    """Return how an issue stands now, for who has read its edition; None when it is not sending."""
    spell = models.ExpressionWrapper(Now() - models.F("resumed_at"), output_field=models.DurationField())
    found: Any = (
        Issue.objects.filter(pk=issue_id, state=IssueState.SENDING)
        .values_list("active_time", spell, "newsletter__on_uncertain", _MAY_TRY, "unread_since", *COUNTS)
        .first()
    )
    if found is None:
        return None
    active, current, on_uncertain, may_try, unread_since, *counts = found
    if unread_since is not None:
        note_readable(issue_id)
    return Standing((active + current).total_seconds(), on_uncertain, any(counts), may_try)


def stop_issue(issue_id: int, *, reason: str, detail: str) -> bool:
    """Pause a sending issue whose mails cannot go out, or block it when they cannot even be composed.

    False when it was not sending.
    """
    target = IssueState.BLOCKED if reason == COMPOSITION_FAILED else IssueState.PAUSED
    return Issue.objects.filter(pk=issue_id).move(
        [IssueState.SENDING], target, state_reason=reason, state_detail=detail
    )
