"""Accepting a restored database: what a person does about a block of the restore guard."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import structlog
from django.db import transaction
from django.db.models import Count, Q
from django.db.models.functions import Now

from accounts import audit
from accounts.audit import Actor
from core.models import RestoreGuard
from core.public_ids import encode
from core.restore_guard import guard_row, mismatch, seen
from core.restore_store import Memory, Store, UnreadableError
from newsletters.delivery.restore_watch import RESTORE_GUARD, trip
from newsletters.models import Delivery, DeliveryState, Issue, IssueState

log = structlog.get_logger(__name__)

# More than other machines can have counted beyond what this one knows of.
COUNTER_LEAP = 1_000_000
PUT_BACK = "It was being sent in the restored database: resume or cancel it."
SUPERSEDED_KEPT = 50
OPEN = (DeliveryState.QUEUED, DeliveryState.SENDING)


@dataclass(frozen=True)
class UnderWay:
    """An issue that has begun and not ended, and how many of its readers are still open."""

    uid: str
    subject: str
    state: str
    open_readers: int


def find_block(store: Store) -> RestoreGuard | None:
    """Return the guard's row when sending is blocked, after looking whether it must be; None when all is well.

    Raises core.restore_store.UnreachableError.
    """
    try:
        remembered = store.read()
    except UnreadableError as error:
        trip(str(error), remembered=None)
    else:
        why = mismatch(remembered, seen(guard_row())) if remembered else None
        if why:
            trip(why, remembered=remembered)
    row = guard_row()
    return row if row.blocked_at is not None else None


def issues_under_way() -> list[UnderWay]:
    """Return the issues that would go on, with their open readers."""
    under_way = Issue.objects.filter(started_at__isnull=False, finished_at__isnull=True).order_by("pk")
    counted = under_way.annotate(open_readers=Count("deliveries", filter=Q(deliveries__state__in=OPEN)))
    return [
        UnderWay(encode("iss", public_id), subject, state, open_readers)
        for public_id, subject, state, open_readers in counted.values_list(
            "public_id", "subject", "state", "open_readers"
        )
    ]


def accept_restore(store: Store, *, actor: Actor, resume: bool = False) -> int:
    """Adopt the present database; returns how many issues go on.

    Issues stay `blocked` for a person unless `resume`; scheduled ones whose time has passed become `blocked`, so
    that they do not all leave at once. Open deliveries are flagged `uncertain`. Raises
    core.restore_store.UnreachableError when the store cannot be written; the database is accepted all the same,
    and the store will recognise it.
    """
    try:
        kept = store.read()
    except UnreadableError:
        kept = None
    with transaction.atomic():
        # Issues before the guard's row, as everybody locks them.
        begun = Q(started_at__isnull=False, finished_at__isnull=True)
        concerned = Issue.objects.filter(begun | Q(state=IssueState.SCHEDULED)).order_by("pk")
        locked = Issue.objects.filter(
            pk__in=list(concerned.select_for_update(no_key=True).values_list("pk", flat=True))
        )
        row = RestoreGuard.objects.select_for_update(no_key=True).get(pk=1)
        memories = [kept] if kept else []
        if row.remembered:
            memories.append(Memory(**{**row.remembered, "superseded": tuple(row.remembered["superseded"])}))
        before = [str(row.acceptance), *(memory.acceptance for memory in memories)]
        RestoreGuard.objects.filter(pk=1).update(
            acceptance=uuid.uuid4(),
            superseded=list(dict.fromkeys([*before, *row.superseded]))[:SUPERSEDED_KEPT],
            counter=max([row.counter, *(memory.counter for memory in memories)]) + COUNTER_LEAP,
            blocked_at=None,
            blocked_why="",
            remembered=None,
            found=None,
        )
        locked.filter(scheduled_at__lte=Now()).move(
            [IssueState.SCHEDULED],
            IssueState.BLOCKED,
            state_reason=RESTORE_GUARD,
            state_detail="Its time passed before the restored database was accepted: make it a draft and send it.",
        )
        # Their rows may have been put back after the trip, as loading a dump into a live database does.
        locked.move([IssueState.SENDING], IssueState.BLOCKED, state_reason=RESTORE_GUARD, state_detail=PUT_BACK)
        # Any of them may have had its mail after the backup was made.
        Delivery.objects.filter(issue__in=locked.filter(begun), state__in=OPEN).update(uncertain=True)
        held = locked.filter(state_reason=RESTORE_GUARD, started_at__isnull=False)
        resumed = held.filter(state=IssueState.BLOCKED).count() if resume else 0
        if resume:
            held.move([IssueState.BLOCKED], IssueState.SENDING)
        found = seen(guard_row())
        audit.record(
            "restore.accepted",
            actor=actor,
            publisher_id=None,
            object_type="database",
            object_id=found.acceptance,
            detail={"why": row.blocked_why, "remembered": row.remembered, "found": row.found, "resumed": resumed},
        )
    log.warning("restore_accepted", acceptance=found.acceptance, counter=found.counter, resumed=resumed)
    store.remember(found, force=True)
    return resumed
