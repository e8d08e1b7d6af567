"""Trials: attempts at a relay that has not taken a mail of an issue yet, counted over all workers before they begin.

Failures are counted when they are known. A relay that takes seconds to refuse would by then have been asked once
by each worker; so whoever has not seen the relay take a mail of the issue first takes one of a few places.
"""

from __future__ import annotations

import collections
import datetime
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, models
from django.db.models.functions import Now

from newsletters.delivery.breaker import ADDRESS_REASONS
from newsletters.delivery.replies import Outcome, Verdict
from newsletters.models import Issue, IssueState

log = structlog.get_logger(__name__)

# Under way, and refused for good since the relay last took a mail of the issue.
MOST_TRIALS = 15
# Killed workers never say how theirs ended; live ones say every so often that they are at it.
VOID = datetime.timedelta(seconds=60)
KEEP_SECONDS = 15.0
ISSUES_REMEMBERED = 256
HAS_ROOM = models.Q(relay_trials__lt=MOST_TRIALS) | models.Q(trials_at__lt=Now() - VOID)


def reserve(issue_id: int) -> bool:
    """Take a place for one attempt; False when there is none, or the issue is not sending."""
    begun = models.Case(
        models.When(trials_at__lt=Now() - VOID, then=models.Value(1)), default=models.F("relay_trials") + 1
    )
    sending = Issue.objects.filter(HAS_ROOM, pk=issue_id, state=IssueState.SENDING)
    return sending.update(relay_trials=begun, trials_at=Now()) == 1


def give_back(issue_id: int) -> None:
    """Let another take the place of an attempt that says nothing for good."""
    Issue.objects.filter(pk=issue_id, relay_trials__gt=0).update(relay_trials=models.F("relay_trials") - 1)


def forget(issue_id: int) -> None:
    """Begin anew: the relay has taken a mail."""
    Issue.objects.filter(pk=issue_id, relay_trials__gt=0).update(relay_trials=0)


class Trials:
    """Those of one process, and the issues that need none; `run` calls what asks the database."""

    def __init__(self, run: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        self._run = run
        self._proven: dict[int, None] = {}
        self._under_way: collections.Counter[int] = collections.Counter()
        self._keep_at = 0.0

    def proven(self, issue_id: int) -> bool:
        """Whether the relay took a mail of this issue, and has been at no fault with it since."""
        return issue_id in self._proven

    def doubt(self, issue_id: int) -> None:
        """Note that the relay was at fault with a mail of this issue."""
        self._proven.pop(issue_id, None)

    async def begin(self, issue_id: int) -> bool:
        """Take a place; False when all are taken. Raises DatabaseError."""
        if not await self._run(functools.partial(reserve, issue_id)):
            return False
        self._under_way[issue_id] += 1
        return True

    async def end(self, issue_id: int, outcome: Outcome | None) -> None:
        """Say how a trial ended; None when nothing was tried. Without a database its place is void after a while."""
        self._under_way[issue_id] -= 1
        self._under_way += collections.Counter()
        what = give_back
        if outcome is not None and outcome.verdict is Verdict.RELAY_FAULT:
            if outcome.permanent:
                return
        elif outcome is not None and outcome.reason not in ADDRESS_REASONS:
            while len(self._proven) >= ISSUES_REMEMBERED:
                del self._proven[next(iter(self._proven))]
            self._proven[issue_id] = None
            what = forget
        try:
            await self._run(functools.partial(what, issue_id))
        except (DatabaseError, InterfaceError) as error:
            log.warning("trial_not_ended", issue=issue_id, error=type(error).__name__)

    async def keep(self) -> None:
        """Keep the places of attempts that take long, now and then."""
        if not self._under_way or time.monotonic() < self._keep_at:
            return
        self._keep_at = time.monotonic() + KEEP_SECONDS
        held = Issue.objects.filter(pk__in=[*self._under_way], relay_trials__gt=0)
        try:
            await self._run(functools.partial(held.update, trials_at=Now()))
        except (DatabaseError, InterfaceError) as error:
            log.warning("trials_not_kept", error=type(error).__name__)
