"""Transactional mail: confirmations, sender verifications and proofs.

A notice is committed with what caused it and sent later by a worker, through whatever e-mail backend
Django is configured with. What a mail says is composed by the caller's composers at the last moment,
so no secret link lies in the database. A worker that dies in the middle leaves a lease; when it ends
the mail is sent again with the same Message-ID.
"""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db.models import Case, F, IntegerField, Q, QuerySet, When
from django.db.models.functions import Now

from core.errors import CourantError
from core.restore_guard import blocked
from core.tokens import seal_id
from newsletters.delivery import restore_watch
from newsletters.delivery.allow_list import is_allowed
from newsletters.models import Issue, Notice, NoticeKind, NoticeState, SenderIdentity, Subscription

log = structlog.get_logger(__name__)

# Writes the mail of a notice, or returns None when nobody wants it any more.
Composer = Callable[[Notice], EmailMessage | None]

MAX_ATTEMPTS = 10
MAX_KILLS = 3
# Waiting times after the first, second … temporary refusal.
BACK_OFF = [timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120, 240, 480, 720)]
RELAY_PAUSE = timedelta(minutes=1)
# An SMTP session is about a dozen waits of at most EMAIL_TIMEOUT each.
WAITS_IN_A_SESSION = 12
MAX_REPLY_LENGTH = 300
PERMANENT_REPLIES = range(500, 600)


class _Verdict(Enum):
    """What a failure means for the notice: never again, again later, or not this notice's fault."""

    REFUSED = "refused"
    DEFERRED = "deferred"
    RELAY_DOWN = "relay_down"


@dataclass(frozen=True)
class _Claimed:
    """A notice in our hands; `lease_until` names our claim among all claims of the row."""

    notice: Notice

    def settle(self, **fields: Any) -> None:
        own = Notice.objects.filter(pk=self.notice.pk, state=NoticeState.SENDING, lease_until=self.notice.lease_until)
        settled = own.update(lease_until=None, **fields)
        log.info(
            "notice_settled",
            notice=self.notice.uid,
            kind=self.notice.kind,
            state=str(fields["state"]),
            attempts=self.notice.attempts,
            lease_kept=bool(settled),
        )


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
    return list(_due().order_by("next_at").values_list("pk", "kind")[:limit])


def send(notice_id: int, *, composers: Mapping[str, Composer]) -> None:
    """Send one notice if it is due and nobody else is sending it.

    The notice ends `sent`, or `failed` (refused for good, not on the allow list, no longer wanted,
    deferred 10 times, or its third worker died with it), or waits for its next attempt; an unreachable
    relay counts as no attempt. An error of the composer or the database is raised after the notice has
    been put back.
    """
    claimed = _claim(notice_id) if restore_watch.may_send() else None
    if claimed is None:
        return
    notice = claimed.notice
    if not restore_watch.look():
        _put_back(claimed, _Verdict.RELAY_DOWN, "Sending is blocked until the restored database is accepted.")
        return
    if not is_allowed(notice.to_address):
        claimed.settle(state=NoticeState.FAILED, last_reply="The address is not on RECIPIENT_ALLOW_LIST.")
        return
    try:
        message = composers[notice.kind](notice)
    except CourantError as error:
        claimed.settle(state=NoticeState.FAILED, last_reply=error.detail[:MAX_REPLY_LENGTH])
        return
    except Exception as error:
        _put_back(claimed, _Verdict.DEFERRED, f"composing failed: {type(error).__name__}")
        raise
    if message is None:
        claimed.settle(state=NoticeState.FAILED, last_reply="It was no longer wanted when it was to be sent.")
        return
    _transmit(claimed, message)


def lease_of_a_notice() -> timedelta:
    """Return how long a worker may have a notice in hand."""
    return timedelta(seconds=WAITS_IN_A_SESSION * settings.EMAIL_TIMEOUT)


def _due() -> QuerySet[Notice]:
    waiting = Q(state=NoticeState.QUEUED, next_at__lte=Now())
    abandoned = Q(state=NoticeState.SENDING, lease_until__lt=Now())
    # Those queued when the backup was made wait until a person has accepted the database.
    return Notice.objects.filter(~blocked(), waiting | abandoned)


def _claim(notice_id: int) -> _Claimed | None:
    abandoned = _due().filter(pk=notice_id, state=NoticeState.SENDING)
    # One guarded UPDATE: whoever claims it meanwhile has moved its lease.
    given_up = abandoned.filter(kills__gte=MAX_KILLS - 1).update(
        state=NoticeState.FAILED,
        kills=F("kills") + 1,
        lease_until=None,
        last_reply=f"{MAX_KILLS} workers died while they were sending it.",
    )
    if given_up:
        log.error("notice_killed_its_workers", notice_id=notice_id)
        return None
    claimed = (
        _due()
        .filter(pk=notice_id)
        .update(
            state=NoticeState.SENDING,
            lease_until=Now() + lease_of_a_notice(),
            attempts=F("attempts") + 1,
            # Only a worker that died leaves a notice `sending`.
            kills=Case(
                When(state=NoticeState.SENDING, then=F("kills") + 1), default=F("kills"), output_field=IntegerField()
            ),
        )
    )
    return _Claimed(Notice.objects.get(pk=notice_id)) if claimed == 1 else None


def _transmit(claimed: _Claimed, message: EmailMessage) -> None:
    host = urlsplit(settings.BASE_URL).hostname
    message.extra_headers.setdefault("Message-ID", f"<notice.{seal_id('notice', claimed.notice.pk)}@{host}>")
    message.extra_headers.setdefault("Auto-Submitted", "auto-generated")
    connection = get_connection()
    try:
        connection.open()
    except Exception as error:  # noqa: BLE001  # backends raise what they like; each failure is settled
        _put_back(claimed, _Verdict.RELAY_DOWN, f"The relay could not be reached: {type(error).__name__}")
        return
    try:
        connection.send_messages([message])
    except Exception as error:  # noqa: BLE001  # as above
        verdict, reply = _judge(error)
        _put_back(claimed, verdict, reply)
    else:
        claimed.settle(state=NoticeState.SENT, sent_at=Now(), last_reply="")
    finally:
        # What became of the mail is known by now; a relay that fails to say goodbye changes nothing.
        with contextlib.suppress(Exception):
            connection.close()


def _put_back(claimed: _Claimed, verdict: _Verdict, reply: str) -> None:
    attempts = claimed.notice.attempts
    reply = reply[:MAX_REPLY_LENGTH]
    if verdict is _Verdict.RELAY_DOWN:
        claimed.settle(
            state=NoticeState.QUEUED,
            next_at=Now() + RELAY_PAUSE,
            attempts=attempts - 1,
            last_reply=reply,
        )
    elif verdict is _Verdict.REFUSED or attempts >= MAX_ATTEMPTS:
        claimed.settle(state=NoticeState.FAILED, last_reply=reply)
    else:
        pause = BACK_OFF[attempts - 1] * settings.RETRY_SCALE_PERCENT / 100
        claimed.settle(state=NoticeState.QUEUED, next_at=Now() + pause, last_reply=reply)


def _judge(error: Exception) -> tuple[_Verdict, str]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return _by_code(code), _shown(code, text)
    if isinstance(error, smtplib.SMTPDataError):
        return _by_code(error.smtp_code), _shown(error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPResponseException):
        # A refusal of the sender or of the greeting is about us, and ends when the operator mends it.
        return _Verdict.DEFERRED, _shown(error.smtp_code, error.smtp_error)
    if isinstance(error, ValueError):
        return _Verdict.REFUSED, "The mail cannot be written with these headers."
    return _Verdict.DEFERRED, f"The mail was not accepted: {type(error).__name__}"


def _by_code(code: int) -> _Verdict:
    return _Verdict.REFUSED if code in PERMANENT_REPLIES else _Verdict.DEFERRED


def _shown(code: int, text: bytes | str) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(plain.split())}"[:MAX_REPLY_LENGTH]
