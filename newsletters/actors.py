"""Every actor, and every question of the clock. An actor calls one function and returns nothing.

A message carries a row's id and never the work itself: lost, doubled or stale, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import dramatiq

from accounts import forgetting, journal, mailing
from core.clock import Question
from core.doorbell import Bell
from core.idempotency import forget_old
from core.rate_limit import forget_idle
from newsletters.audience import importing
from newsletters.delivery import couriers, destinations, leaps, notices, rescue, restore_watch, retention
from newsletters.models import NoticeKind
from newsletters.publishing import fan_out as fanning_out
from newsletters.publishing import newsletters, sending
from newsletters.publishing.notice_mails import COMPOSERS

BULK, TRANSACTIONAL = "bulk", "transactional"
# A thread that comes free takes the lowest number first: a confirmation waits behind nobody's list.
FIRST, LAST = 0, 10
NOTICES_AT_ONCE = 50
ACCOUNT_MAILS_AT_ONCE = 50
PURGES_AT_ONCE = 5


@dramatiq.actor(queue_name=BULK, priority=LAST)
def start_issue(issue_id: int) -> None:
    """Start a scheduled issue whose time has come."""
    sending.start_due(issue_id)


@dramatiq.actor(queue_name=BULK, priority=LAST)
def fan_out(issue_id: int) -> None:
    """Insert the missing ledger rows of an issue."""
    fanning_out.fan_out(issue_id)


# TimeLimit could strike between the final dot and its reply; the courier keeps its own time.
@dramatiq.actor(queue_name=BULK, priority=LAST, time_limit=float("inf"), notify_shutdown=False)
async def deliver(issue_id: int) -> None:
    """Deliver the due rows of an issue for one slice."""
    await couriers.deliver(issue_id)


@dramatiq.actor(priority=LAST, time_limit=300_000)
def import_subscribers(import_id: int) -> None:
    """Read an uploaded file of readers, as far as a slice allows."""
    importing.run(import_id)


@dramatiq.actor(priority=LAST)
def purge_newsletter(newsletter_id: int) -> None:
    """Remove the rows of a deleted newsletter in batches."""
    newsletters.purge(newsletter_id)


@dramatiq.actor(priority=LAST)
def archive_issues(first_issue_id: int) -> None:
    """Keep the counts of issues that ended long ago and remove their rows, as far as a slice allows."""
    retention.run(first_issue_id)


@dramatiq.actor(queue_name=TRANSACTIONAL, priority=FIRST)
def send_confirmation(notice_id: int) -> None:
    """Ask a reader to confirm a subscription."""
    notices.send(notice_id, composers=COMPOSERS)


@dramatiq.actor(queue_name=TRANSACTIONAL, priority=FIRST)
def send_sender_verification(notice_id: int) -> None:
    """Ask the owner of an address whether it may be a sender."""
    notices.send(notice_id, composers=COMPOSERS)


@dramatiq.actor(queue_name=TRANSACTIONAL, priority=FIRST)
def send_proof(notice_id: int) -> None:
    """Send a proof of an issue to one address."""
    notices.send(notice_id, composers=COMPOSERS)


@dramatiq.actor(queue_name=TRANSACTIONAL, priority=FIRST)
def send_account_mail(account_mail_id: int) -> None:
    """Send a mail about somebody's account."""
    mailing.send(account_mail_id, guard=restore_watch)


_BY_KIND = {
    NoticeKind.CONFIRMATION: send_confirmation,
    NoticeKind.SENDER_VERIFICATION: send_sender_verification,
    NoticeKind.PROOF: send_proof,
}


def _ring(actor: dramatiq.Actor[..., None], ids: Callable[[], Iterable[int]]) -> Callable[[], list[Bell]]:
    return lambda: [Bell(actor, row_id) for row_id in ids()]


def _notices() -> list[Bell]:
    return [Bell(_BY_KIND[NoticeKind(kind)], pk) for pk, kind in notices.due_ids(NOTICES_AT_ONCE)]


def _quietly(task: Callable[[], int]) -> Callable[[], list[Bell]]:
    def ask() -> list[Bell]:
        task()
        return []

    return ask


QUESTIONS = [
    Question(_ring(start_issue, sending.due_issues)),
    Question(_ring(fan_out, fanning_out.issues_to_fan_out)),
    Question(_ring(deliver, rescue.issues_with_due_rows)),
    Question(_ring(send_account_mail, lambda: mailing.due_ids(ACCOUNT_MAILS_AT_ONCE)), again=5.0),
    Question(_notices, again=5.0),
    Question(_quietly(rescue.finish_issues)),
    Question(_quietly(rescue.sweep_cancelled), every=1.0),
    Question(_quietly(rescue.reclaim_dead_leases), every=1.0),
    Question(_ring(import_subscribers, importing.due_ids), every=1.0),
    # At 500 a second: a caller may leave 100 a second behind.
    Question(_quietly(forget_old), every=10.0),
    Question(_quietly(forget_idle), every=60.0),
    Question(_quietly(journal.forget_old), every=5.0),
    Question(_quietly(destinations.forget_unused), every=600.0),
    Question(_quietly(mailing.forget_old), every=600.0),
    Question(_quietly(forgetting.forget_ended), every=600.0),
    Question(_ring(purge_newsletter, lambda: newsletters.due_for_purge(PURGES_AT_ONCE)), every=10.0),
    # The actor looks for what is due: with many issues that takes longer than the clock may wait.
    Question(_ring(archive_issues, retention.oldest_issue), every=120.0),
]
# What the clock does when the database's own has leapt back.
AFTER_A_LEAP = [leaps.pull_back, importing.pull_back]
