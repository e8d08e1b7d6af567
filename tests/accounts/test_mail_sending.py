from __future__ import annotations

import smtplib
from collections.abc import Sequence
from datetime import timedelta
from typing import ClassVar

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from accounts.mailing import OUTBOX, due_ids, queue
from accounts.models import AccountMail, User
from core.models import MailState
from core.outbox import BACK_OFF, MAX_ATTEMPTS
from core.restore_guard import guard_row
from newsletters.delivery import leaps
from tests import cast
from tests.accounts.mail_acts import NEW_PASSWORD, Kind, adapter, invite, link, person, sent, verify

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
HERE = "tests.accounts.test_mail_sending"
GONE = "It was no longer wanted when it was to be sent."


class Relay(BaseEmailBackend):
    """Raises what a test puts here, when opening or when sending; notes whether the intent was written by then."""

    on_open: ClassVar[Exception | None] = None
    on_send: ClassVar[Exception | None] = None
    intents: ClassVar[list[tuple[str, bool]]] = []

    def open(self) -> bool:
        self.note("open")
        if self.on_open:
            raise self.on_open
        return True

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        self.note("send")
        if self.on_send:
            raise self.on_send
        return len(email_messages)

    def note(self, phase: str) -> None:
        self.intents.append((phase, AccountMail.objects.filter(intent_at__isnull=False).exists()))


@pytest.fixture
def relay(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> type[Relay]:
    settings.EMAIL_BACKEND = f"{HERE}.Relay"
    for name, value in (("on_open", None), ("on_send", None), ("intents", [])):
        monkeypatch.setattr(Relay, name, value)
    return Relay


def verification(email: str = cast.BORIS) -> AccountMail:
    user, address = person(email)
    return queue(Kind.VERIFY_ADDRESS, to=email, user=user, email_address=address)


def died(*, intended: bool) -> None:
    """Leave all mails as a worker does that is killed, and let their leases end."""
    AccountMail.objects.update(
        state=MailState.SENDING,
        lease_until=Now() - timedelta(seconds=1),
        intent_at=Now() if intended else None,
    )


def test_the_intent_stands_only_while_the_relay_has_the_mail(relay: type[Relay]) -> None:
    row = sent(verification())
    assert relay.intents == [("open", False), ("send", True)]
    assert (row.state, row.intent_at, row.uncertain, row.lease_until) == (MailState.SENT, None, False, None)
    assert row.sent_at is not None


def test_a_mail_whose_worker_died_after_the_intent_goes_out_again_flagged_with_the_same_words() -> None:
    row = verification()
    first = sent(row)
    assert (first.state, first.uncertain) == (MailState.SENT, False)
    died(intended=True)
    again = sent(row)
    assert (again.state, again.uncertain, again.kills, again.intent_at) == (MailState.SENT, True, 1, None)
    one, two = (message.message() for message in mail.outbox)
    assert one["Message-ID"] == two["Message-ID"]
    assert one["Message-ID"].startswith("<account.")
    assert str(mail.outbox[0].body).partition("/account/")[0] == str(mail.outbox[1].body).partition("/account/")[0]
    assert verify(link())


def test_a_mail_whose_worker_died_before_the_intent_is_not_flagged() -> None:
    row = verification()
    died(intended=False)
    assert (sent(row).uncertain, sent(row).kills) == (False, 1)


def test_the_flag_is_never_cleared(relay: type[Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    row = verification()
    died(intended=True)
    monkeypatch.setattr(relay, "on_send", smtplib.SMTPDataError(451, b"4.3.0 busy"))
    assert sent(row).uncertain
    AccountMail.objects.update(next_at=Now())
    monkeypatch.setattr(relay, "on_send", None)
    last = sent(row)
    assert (last.state, last.uncertain) == (MailState.SENT, True)


@pytest.mark.parametrize(
    ("error", "uncertain"),
    [
        (smtplib.SMTPServerDisconnected("gone"), True),
        (TimeoutError(), True),
        (RuntimeError("an API's own error"), True),
        (smtplib.SMTPDataError(451, b"4.3.0 busy"), False),
        (smtplib.SMTPSenderRefused(550, b"who are you", "courant@example.test"), False),
    ],
)
def test_a_mail_is_flagged_when_nobody_knows_whether_the_relay_has_it(
    error: Exception, uncertain: bool, relay: type[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "on_send", error)
    row = sent(verification())
    assert (row.state, row.uncertain, row.intent_at) == (MailState.QUEUED, uncertain, None)


def test_an_unreachable_relay_leaves_the_mail_as_it_was(relay: type[Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "on_open", ConnectionRefusedError())
    row = verification()
    for _ in range(MAX_ATTEMPTS + 1):
        row = sent(row)
        AccountMail.objects.update(next_at=Now())
    assert (row.state, row.attempts, row.uncertain) == (MailState.QUEUED, 0, False)


def test_a_mail_that_killed_three_workers_fails_flagged() -> None:
    row = verification()
    for _ in range(3):
        assert OUTBOX.claim(row.pk) is not None
        died(intended=True)
    last = sent(row)
    assert (last.state, last.kills, last.uncertain, last.intent_at) == (MailState.FAILED, 3, True, None)
    assert mail.outbox == []


def test_a_worker_that_lost_its_lease_while_it_connected_sends_nothing(
    relay: type[Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = verification()
    stolen = Now() + timedelta(hours=1)
    monkeypatch.setattr(relay, "open", lambda _: AccountMail.objects.update(lease_until=stolen))
    assert sent(row).state == MailState.SENDING
    assert relay.intents == []


def test_nothing_is_sent_while_a_restored_database_is_not_accepted() -> None:
    row = verification()
    guard_row()
    type(guard_row()).objects.update(blocked_at=Now())
    assert due_ids(10) == []
    assert sent(row).state == MailState.QUEUED


def test_the_allow_list_holds_for_mails_about_accounts(settings: Settings) -> None:
    settings.RECIPIENT_ALLOW_LIST = ("example.net",)
    refused, allowed = sent(verification()), sent(verification(cast.CHLOE))
    assert (refused.state, allowed.state) == (MailState.FAILED, MailState.SENT)
    assert [message.to for message in mail.outbox] == [[cast.CHLOE]]


def test_times_come_back_within_reach_when_the_databases_clock_leapt_back() -> None:
    waiting, under_way = verification(), verification(cast.CHLOE)
    far = Now() + timedelta(days=30)
    AccountMail.objects.filter(pk=waiting.pk).update(next_at=far, attempts=1)
    AccountMail.objects.filter(pk=under_way.pk).update(state=MailState.SENDING, lease_until=far)
    leaps.pull_back()
    near = AccountMail.objects.filter(next_at__lt=Now() + BACK_OFF[0] + timedelta(seconds=1))
    assert near.filter(pk=waiting.pk).exists()
    assert AccountMail.objects.filter(pk=under_way.pk, lease_until__lt=Now() + timedelta(hours=1)).exists()


def test_nobody_is_asked_to_verify_what_is_verified_or_gone() -> None:
    row = verification()
    EmailAddress.objects.update(verified=True)
    assert (sent(row).state, sent(row).last_reply) == (MailState.FAILED, GONE)
    row = verification(cast.CHLOE)
    EmailAddress.objects.filter(email=cast.CHLOE).delete()
    assert not AccountMail.objects.filter(pk=row.pk).exists()
    assert mail.outbox == []


def test_nobody_is_asked_to_verify_for_an_account_that_was_closed() -> None:
    row = verification()
    User.objects.update(is_active=False)
    assert (sent(row).state, row.last_reply) == (MailState.FAILED, GONE)


def test_an_address_that_somebody_only_asks_to_change_to_resets_no_password_of_theirs() -> None:
    user, _ = person(verified=True)
    EmailAddress.objects.create(user=user, email=cast.CHLOE)
    row = queue(Kind.RESET_PASSWORD, to=cast.CHLOE, user=user)
    assert (sent(row).state, row.last_reply) == (MailState.FAILED, GONE)
    assert sent(queue(Kind.RESET_PASSWORD, to=user.email, user=user)).state == MailState.SENT


def test_mails_with_links_that_were_asked_for_before_a_new_password_are_not_sent() -> None:
    user, address = person()
    rows = [
        queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address),
        queue(Kind.RESET_PASSWORD, to=user.email, user=user),
    ]
    adapter().set_password(user, NEW_PASSWORD)
    assert [(sent(row).state, row.last_reply) for row in rows] == [(MailState.FAILED, GONE)] * 2
    assert mail.outbox == []


def test_a_mail_that_waits_outlives_a_rotation_of_the_signing_keys(settings: Settings) -> None:
    row = verification()
    settings.SIGNING_KEYS = ("another key of more than forty characters 0123456789",)
    assert sent(row).state == MailState.SENT


def test_no_reset_link_goes_to_an_address_that_is_no_longer_theirs_or_to_a_closed_account() -> None:
    user, _ = person(verified=True)
    elsewhere = queue(Kind.RESET_PASSWORD, to=cast.DMITRI, user=user)
    closed = queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    assert sent(elsewhere).state == MailState.FAILED
    user.is_active = False
    user.save()
    assert sent(closed).state == MailState.FAILED


@pytest.mark.parametrize(
    "change",
    [
        {"withdrawn_at": Now()},
        {"accepted_at": Now()},
        {"expires_at": Now() - timedelta(seconds=1)},
        {"address": "somebody-else@example.org"},
    ],
)
def test_an_invitation_that_cannot_be_accepted_is_not_sent(change: dict[str, object]) -> None:
    invitation = invite()
    row = queue(Kind.INVITATION, to=invitation.address, invitation=invitation)
    type(invitation).objects.update(**change)
    assert sent(row).state == MailState.FAILED
    assert mail.outbox == []


def test_nobody_is_told_of_an_account_that_is_gone() -> None:
    user, _ = person()
    rows = [queue(Kind.ADDRESS_TAKEN, to=address) for address in (user.email.upper(), cast.CHLOE)]
    assert [sent(row).state for row in rows] == [MailState.SENT, MailState.FAILED]
