"""A queue of mails in a table: claimed under a lease, composed at the last moment, sent once or again.

A mail is committed with what caused it and sent later by a worker, through whatever e-mail backend Django is
configured with. A worker that dies in the middle leaves a lease; when it ends the mail is sent again with the same
Message-ID.
"""

from __future__ import annotations

import contextlib
import smtplib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models import BooleanField, Case, ExpressionWrapper, F, IntegerField, Manager, Q, QuerySet, When
from django.db.models.functions import Now

from core.allow_list import is_allowed
from core.errors import CourantError
from core.models import MailState, QueuedMail
from core.restore_guard import blocked
from core.tokens import seal_id

log = structlog.get_logger(__name__)
M = TypeVar("M", bound=QueuedMail)

# Writes the mail of a row, or returns None when nobody wants it any more.
Composer = Callable[[M], EmailMessage | None]

MAX_ATTEMPTS = 10
MAX_KILLS = 3
# Waiting times after the first, second … temporary refusal.
BACK_OFF = [timedelta(minutes=m) for m in (1, 5, 15, 30, 60, 120, 240, 480, 720)]
RELAY_PAUSE = timedelta(minutes=1)
# An SMTP session is about a dozen waits of at most EMAIL_TIMEOUT each.
WAITS_IN_A_SESSION = 12
MAX_REPLY_LENGTH = 300
PERMANENT_REPLIES = range(500, 600)


class Guard(Protocol):
    """Whether this process may send: before a claim, and looked at again after it."""

    def may_send(self) -> bool: ...

    def look(self) -> bool: ...


class _Verdict(Enum):
    """What a failure means for the mail: never again, again later, or not this mail's fault.

    After one in doubt nobody knows whether the relay has it; it is sent again.
    """

    REFUSED = "refused"
    DEFERRED = "deferred"
    IN_DOUBT = "in_doubt"
    RELAY_DOWN = "relay_down"


@dataclass(frozen=True)
class Outbox(Generic[M]):
    """The mails of one table, `rows`; `name` begins their Message-IDs.

    With `keeps_intents` the table has `intent_at`, written when the relay is ready to take the mail and cleared when
    it is known what became of it, and `uncertain`, set for ever when that never became known.
    """

    rows: Manager[M]
    name: str
    keeps_intents: bool = False

    def due_ids(self, limit: int) -> list[tuple[int, str]]:
        """Return (id, kind) of mails that wait for a worker now, those due longest first."""
        return list(self._due().order_by("next_at").values_list("pk", "kind")[:limit])

    def send(self, mail_id: int, *, composers: Mapping[str, Composer[M]], guard: Guard) -> None:
        """Send one mail if it is due and nobody else is sending it.

        It ends `sent`, or `failed` (refused for good, not on the allow list, no longer wanted, deferred 10 times, or
        its third worker died with it), or waits for its next attempt; an unreachable relay counts as no attempt. An
        error of the composer or the database is raised after the mail has been put back.
        """
        claimed = self.claim(mail_id) if guard.may_send() else None
        if claimed is None:
            return
        row = claimed.row
        if not guard.look():
            claimed.put_back(_Verdict.RELAY_DOWN, "Sending is blocked until the restored database is accepted.")
            return
        if not is_allowed(row.to_address):
            claimed.settle(state=MailState.FAILED, last_reply="The address is not on RECIPIENT_ALLOW_LIST.")
            return
        try:
            message = composers[row.kind](row)
        except CourantError as error:
            claimed.settle(state=MailState.FAILED, last_reply=error.detail[:MAX_REPLY_LENGTH])
            return
        except Exception as error:
            claimed.put_back(_Verdict.DEFERRED, f"composing failed: {type(error).__name__}")
            raise
        if message is None:
            claimed.settle(state=MailState.FAILED, last_reply="It was no longer wanted when it was to be sent.")
            return
        claimed.transmit(message)

    def claim(self, mail_id: int) -> Claimed[M] | None:
        """Take a due mail in hand; None when it is not due, somebody else was faster, or it killed its workers."""
        abandoned = self._due().filter(pk=mail_id, state=MailState.SENDING)
        # One guarded UPDATE: whoever claims it meanwhile has moved its lease.
        given_up = abandoned.filter(kills__gte=MAX_KILLS - 1).update(
            state=MailState.FAILED,
            kills=F("kills") + 1,
            lease_until=None,
            last_reply=f"{MAX_KILLS} workers died while they were sending it.",
            **self._doubts(),
        )
        if given_up:
            log.error("mail_killed_its_workers", queue=self.name, mail_id=mail_id)
            return None
        # Only a worker that died leaves a mail `sending`.
        one_more = When(state=MailState.SENDING, then=F("kills") + 1)
        claimed = (
            self._due()
            .filter(pk=mail_id)
            .update(
                state=MailState.SENDING,
                lease_until=Now() + lease_of_a_mail(),
                attempts=F("attempts") + 1,
                kills=Case(one_more, default=F("kills"), output_field=IntegerField()),
                **self._doubts(),
            )
        )
        return Claimed(self, self.rows.get(pk=mail_id)) if claimed == 1 else None

    def _due(self) -> QuerySet[M]:
        waiting = Q(state=MailState.QUEUED, next_at__lte=Now())
        abandoned = Q(state=MailState.SENDING, lease_until__lt=Now())
        # Those queued when the backup was made wait until a person has accepted the database.
        return self.rows.filter(~blocked(), waiting | abandoned)

    def _doubts(self) -> dict[str, Any]:
        """Return what to write of a mail whose last worker may have died between the intent and the reply."""
        if not self.keeps_intents:
            return {}
        doubtful = Q(uncertain=True) | Q(intent_at__isnull=False)
        return {"uncertain": ExpressionWrapper(doubtful, output_field=BooleanField()), "intent_at": None}


@dataclass(frozen=True)
class Claimed(Generic[M]):
    """A mail in our hands; `lease_until` names our claim among all claims of the row."""

    outbox: Outbox[M]
    row: M

    def settle(self, **fields: Any) -> None:
        """Write what became of it, unless the lease was lost."""
        known = {"intent_at": None} if self.outbox.keeps_intents else {}
        settled = self._own().update(lease_until=None, **known, **fields)
        log.info(
            "mail_settled",
            mail=self.row.uid,
            kind=self.row.kind,
            state=str(fields["state"]),
            attempts=self.row.attempts,
            lease_kept=bool(settled),
        )

    def put_back(self, verdict: _Verdict, reply: str) -> None:
        """Let it wait for its next attempt, or end it when there is none."""
        attempts = self.row.attempts
        doubt = {"uncertain": True} if self.outbox.keeps_intents and verdict is _Verdict.IN_DOUBT else {}
        reply = reply[:MAX_REPLY_LENGTH]
        if verdict is _Verdict.RELAY_DOWN:
            pause = RELAY_PAUSE * settings.RETRY_SCALE_PERCENT / 100
            self.settle(state=MailState.QUEUED, next_at=Now() + pause, attempts=attempts - 1, last_reply=reply)
        elif verdict is _Verdict.REFUSED or attempts >= MAX_ATTEMPTS:
            self.settle(state=MailState.FAILED, last_reply=reply, **doubt)
        else:
            pause = BACK_OFF[attempts - 1] * settings.RETRY_SCALE_PERCENT / 100
            self.settle(state=MailState.QUEUED, next_at=Now() + pause, last_reply=reply, **doubt)

    def transmit(self, message: EmailMessage) -> None:
        """Hand it to the relay."""
        host = urlsplit(settings.BASE_URL).hostname
        name = self.outbox.name
        message.extra_headers.setdefault("Message-ID", f"<{name}.{seal_id(name, self.row.pk)}@{host}>")
        message.extra_headers.setdefault("Auto-Submitted", "auto-generated")
        connection = get_connection()
        try:
            connection.open()
        except Exception as error:  # noqa: BLE001  # backends raise what they like; each failure is settled
            self.put_back(_Verdict.RELAY_DOWN, f"The relay could not be reached: {type(error).__name__}")
            return
        try:
            if self._intend():
                self._hand_over(connection, message)
        finally:
            # What became of the mail is known by now; a relay that fails to say goodbye changes nothing.
            with contextlib.suppress(Exception):
                connection.close()

    def _own(self) -> QuerySet[M]:
        return self.outbox.rows.filter(pk=self.row.pk, state=MailState.SENDING, lease_until=self.row.lease_until)

    def _intend(self) -> bool:
        return not self.outbox.keeps_intents or self._own().update(intent_at=Now()) == 1

    def _hand_over(self, connection: BaseEmailBackend, message: EmailMessage) -> None:
        try:
            connection.send_messages([message])
        except Exception as error:  # noqa: BLE001  # as above
            verdict, reply = _judge(error)
            self.put_back(verdict, reply)
        else:
            self.settle(state=MailState.SENT, sent_at=Now(), last_reply="")


def lease_of_a_mail() -> timedelta:
    """Return how long a worker may have a mail in hand."""
    return timedelta(seconds=WAITS_IN_A_SESSION * settings.EMAIL_TIMEOUT)


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
    return _Verdict.IN_DOUBT, f"The mail was not accepted: {type(error).__name__}"


def _by_code(code: int) -> _Verdict:
    return _Verdict.REFUSED if code in PERMANENT_REPLIES else _Verdict.DEFERRED


def _shown(code: int, text: bytes | str) -> str:
    plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(plain.split())}"[:MAX_REPLY_LENGTH]
