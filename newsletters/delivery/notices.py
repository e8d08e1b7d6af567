"""Transactional mail of newsletters: confirmations, sender verifications and proofs.

What a mail says is composed by the caller's composers at the last moment.
"""

from __future__ import annotations

from collections.abc import Mapping

from core.outbox import Composer, Outbox
from newsletters.delivery import restore_watch
from newsletters.models import Issue, Notice, NoticeKind, SenderIdentity, Subscription

OUTBOX = Outbox(Notice.objects, "notice")


def queue(
    kind: NoticeKind,
    *,
    to: str,
    subscription: Subscription | None = None,
    sender: SenderIdentity | None = None,
    issue: Issue | None = None,
) -> Notice:
    """Queue one mail to a canonical address, about exactly the one thing that `kind` is about."""
    return Notice.objects.create(kind=kind, to_address=to, subscription=subscription, sender=sender, issue=issue)


def due_ids(limit: int) -> list[tuple[int, str]]:
    """Return (id, kind) of notices that wait for a worker now, those due longest first."""
    return OUTBOX.due_ids(limit)


def send(notice_id: int, *, composers: Mapping[str, Composer[Notice]]) -> None:
    """Send one notice if it is due and nobody else is sending it (`Outbox.send`)."""
    OUTBOX.send(notice_id, composers=composers, guard=restore_watch)
