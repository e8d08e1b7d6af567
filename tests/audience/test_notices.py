from __future__ import annotations

import smtplib
import threading
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from core.errors import InvalidError
from core.outbox import MAX_ATTEMPTS
from core.tokens import open_token
from newsletters.audience.subscribing import confirm, subscribe
from newsletters.delivery import notices
from newsletters.models import Newsletter, Notice, NoticeState
from newsletters.publishing import senders
from newsletters.publishing.notice_mails import COMPOSERS
from tests import cast

pytestmark = pytest.mark.django_db
HERE = "tests.audience.test_notices"


class FailingBackend(BaseEmailBackend):
    """Raises what a test puts here, when opening or when sending."""

    on_open: ClassVar[Exception | None] = None
    on_send: ClassVar[Exception | None] = None

    def open(self) -> bool:
        if self.on_open:
            raise self.on_open
        return True

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        if self.on_send:
            raise self.on_send
        return len(email_messages)


def pending(newsletter: Newsletter | None = None, address: str = cast.ADA) -> Notice:
    newsletter = newsletter or cast.make_newsletter()
    subscription = subscribe(newsletter, address=address, consent_source="a test", confirmed=False)
    return Notice.objects.get(subscription=subscription)


def send(notice: Notice) -> Notice:
    notices.send(notice.pk, composers=COMPOSERS)
    notice.refresh_from_db()
    return notice


def failing(settings: Settings, monkeypatch: pytest.MonkeyPatch, **when: Exception) -> None:
    settings.EMAIL_BACKEND = f"{HERE}.FailingBackend"
    for name, error in when.items():
        monkeypatch.setattr(FailingBackend, name, error)


def test_a_confirmation_says_who_asks_and_carries_a_working_link(settings: Settings) -> None:
    notice = send(pending(cast.make_newsletter(name="Ärzte & <Co>", reply_to="desk@gazette.example")))
    assert (notice.state, notice.lease_until, notice.attempts) == (NoticeState.SENT, None, 1)
    assert notice.sent_at is not None
    (message,) = mail.outbox
    assert (message.to, message.reply_to) == ([cast.ADA], ["desk@gazette.example"])
    assert message.subject == "Please confirm your subscription to Ärzte & <Co>"
    parsed = message.message()
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["From"] == "The Gazette <news@gazette.example>"
    prefix = f"{settings.BASE_URL}/c/"
    token = str(message.body).partition(prefix)[2].split()[0]
    assert open_token("confirm", token).pk == notice.subscription_id
    ((html, kind),) = message.alternatives  # type: ignore[attr-defined]
    assert kind == "text/html"
    assert f'href="{prefix}{token}"' in html
    assert "Ärzte &amp; &lt;Co&gt;" in html
    assert "Ärzte & <Co>" in message.body


def test_a_mail_is_plain_ascii_with_short_lines() -> None:
    send(pending(cast.make_newsletter(name="Ärzteblatt", postal_address="Straße 1, Zürich\n.\n")))
    data = mail.outbox[0].message().as_bytes()
    assert data.isascii()
    assert max(map(len, data.splitlines())) <= 78
    assert mail.outbox[0].subject == "Please confirm your subscription to Ärzteblatt"


def test_an_unverified_sender_is_not_used_for_confirmations(settings: Settings) -> None:
    publisher = cast.make_publisher()
    sender = cast.make_sender(publisher, verified=False)
    send(pending(cast.make_newsletter(publisher, sender=sender)))
    assert mail.outbox[0].message()["From"] == f"The Gazette <{settings.DEFAULT_FROM_EMAIL}>"


def test_two_attempts_of_a_notice_have_one_message_id() -> None:
    notice = send(pending())
    Notice.objects.update(state=NoticeState.QUEUED)
    send(notice)
    send(pending(address=cast.BORIS))
    first, second, other = (message.message()["Message-ID"] for message in mail.outbox)
    assert first == second != other
    assert "@news.example.test>" in first


def test_a_newsletters_name_cannot_add_a_header() -> None:
    name = "=?utf-8?q?Hi=0ABcc:_evil@x.co?="
    send(pending(cast.make_newsletter(name=name, from_name=name + "\r\nBcc: evil@x.co")))
    parsed = mail.outbox[0].message()
    expected = {"Content-Type", "MIME-Version", "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted"}
    assert set(parsed.keys()) == expected
    assert "=?utf-8?q?Hi" not in str(parsed["Subject"]) + str(parsed["From"])


def test_a_confirmation_nobody_waits_for_is_not_sent() -> None:
    notice = pending()
    assert notice.subscription_id is not None
    confirm(notice.subscription_id)
    assert send(notice).state == NoticeState.FAILED
    assert mail.outbox == []


def test_a_notice_that_is_sent_or_not_due_is_left_alone() -> None:
    notice = send(pending())
    send(notice)
    later = pending(address=cast.BORIS)
    Notice.objects.filter(pk=later.pk).update(next_at=Now() + timedelta(minutes=1))
    send(later)
    notices.send(4711, composers=COMPOSERS)
    assert len(mail.outbox) == 1


def test_the_allow_list_holds_for_notices(settings: Settings) -> None:
    settings.RECIPIENT_ALLOW_LIST = ("example.net",)
    refused, allowed = send(pending()), send(pending(address=cast.CHLOE))
    assert (refused.state, allowed.state) == (NoticeState.FAILED, NoticeState.SENT)
    assert "RECIPIENT_ALLOW_LIST" in refused.last_reply
    assert [message.to for message in mail.outbox] == [[cast.CHLOE]]


def test_a_refused_recipient_ends_the_notice(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = smtplib.SMTPRecipientsRefused({cast.ADA: (550, b"5.1.1 no such\r\nuser")})
    failing(settings, monkeypatch, on_send=refusal)
    notice = send(pending())
    assert (notice.state, notice.last_reply) == (NoticeState.FAILED, "550 5.1.1 no such user")


@pytest.mark.parametrize(
    "error",
    [
        smtplib.SMTPRecipientsRefused({cast.ADA: (450, b"4.2.0 greylisted")}),
        smtplib.SMTPDataError(451, b"4.3.0 busy"),
        smtplib.SMTPSenderRefused(550, b"who are you", "news@gazette.example"),
        smtplib.SMTPServerDisconnected("gone"),
        TimeoutError(),
        RuntimeError("an API's own error"),
    ],
)
def test_a_temporary_refusal_is_tried_again_until_the_tenth_time(
    error: Exception, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(settings, monkeypatch, on_send=error)
    notice = pending()
    for attempt in range(1, MAX_ATTEMPTS):
        notice = send(notice)
        assert (notice.state, notice.attempts, notice.lease_until) == (NoticeState.QUEUED, attempt, None)
        assert notices.due_ids(10) == []
        Notice.objects.update(next_at=Now())
        assert notices.due_ids(10) == [(notice.pk, "confirmation")]
    assert send(notice).state == NoticeState.FAILED
    assert notices.due_ids(10) == []


def test_an_unreachable_relay_counts_as_no_attempt(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(settings, monkeypatch, on_open=ConnectionRefusedError())
    notice = pending()
    for _ in range(MAX_ATTEMPTS + 1):
        notice = send(notice)
        Notice.objects.update(next_at=Now())
    assert (notice.state, notice.attempts) == (NoticeState.QUEUED, 0)


def test_an_expected_failure_of_the_composer_ends_the_notice() -> None:
    def refuse(_: Notice) -> EmailMessage:
        raise InvalidError("issue_has_no_content", "The issue is empty.")

    notice = pending()
    notices.send(notice.pk, composers={"confirmation": refuse})
    notice.refresh_from_db()
    assert (notice.state, notice.last_reply) == (NoticeState.FAILED, "The issue is empty.")


def test_a_defect_in_the_composer_is_raised_and_the_notice_waits() -> None:
    def fail(_: Notice) -> EmailMessage:
        raise ZeroDivisionError

    notice = pending()
    with pytest.raises(ZeroDivisionError):
        notices.send(notice.pk, composers={"confirmation": fail})
    notice.refresh_from_db()
    assert (notice.state, notice.attempts) == (NoticeState.QUEUED, 1)


def test_a_notice_whose_worker_died_is_due_again_after_its_lease() -> None:
    notice = pending()
    Notice.objects.update(state=NoticeState.SENDING, lease_until=Now() + timedelta(seconds=30))
    assert notices.due_ids(10) == []
    assert send(notice).state == NoticeState.SENDING
    Notice.objects.update(lease_until=Now() - timedelta(seconds=1))
    assert notices.due_ids(10) == [(notice.pk, "confirmation")]
    assert send(notice).state == NoticeState.SENT


def test_a_notice_that_killed_three_workers_fails_and_says_so() -> None:
    notice = pending()
    for kills in range(3):
        assert notices.OUTBOX.claim(notice.pk) is not None
        assert Notice.objects.get().kills == kills
        Notice.objects.update(lease_until=Now() - timedelta(seconds=1))
    failed = send(notice)
    assert (failed.state, failed.kills, failed.lease_until) == (NoticeState.FAILED, 3, None)
    assert failed.last_reply == "3 workers died while they were sending it."
    assert mail.outbox == []
    assert notices.due_ids(10) == []


def test_a_worker_whose_lease_is_lost_does_not_settle() -> None:
    notice = pending()

    def steal(stolen: Notice) -> EmailMessage:
        Notice.objects.filter(pk=stolen.pk).update(lease_until=Now() + timedelta(hours=1))
        return EmailMessage("Subject", "Body", "courant@example.test", [cast.ADA])

    notices.send(notice.pk, composers={"confirmation": steal})
    notice.refresh_from_db()
    assert notice.state == NoticeState.SENDING


@pytest.mark.django_db(transaction=True)
def test_one_notice_rung_many_times_at_once_is_sent_once() -> None:
    notice, start = pending(), threading.Barrier(8)

    def body() -> None:
        start.wait()
        notices.send(notice.pk, composers=COMPOSERS)
        connection.close()

    threads = [threading.Thread(target=body) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mail.outbox) == 1


def test_an_address_becomes_a_sender_once_its_owner_agrees(settings: Settings) -> None:
    publisher = cast.make_publisher(name="The <b>Gazette</b>")
    sender = senders.identify(publisher, "News@GAZETTE.example")
    assert senders.identify(publisher, "news@gazette.example") == sender
    assert not senders.is_usable(sender)
    notice = senders.request_verification(sender)
    assert notice is not None
    assert senders.request_verification(sender) is None
    assert send(notice).state == NoticeState.SENT
    message: Any = mail.outbox[0]
    assert message.to == ["news@gazette.example"]
    assert "The &lt;b&gt;Gazette&lt;/b&gt;" in message.alternatives[0][0]
    token = message.body.partition(f"{settings.BASE_URL}/v/")[2].split()[0]
    verified = senders.verify(open_token("verify-sender", token).pk)
    assert senders.is_usable(verified)
    assert senders.verify(sender.pk).verified_at == verified.verified_at
    assert senders.request_verification(verified) is None


@pytest.mark.parametrize(
    ("domains", "usable"),
    [((), False), (("gazette.example",), True), (("@Gazette.Example",), True), (("example",), False)],
)
def test_the_operators_domains_need_no_verification(
    domains: tuple[str, ...], *, usable: bool, settings: Settings
) -> None:
    settings.VERIFIED_SENDER_DOMAINS = domains
    assert senders.is_usable(cast.make_sender(cast.make_publisher(), verified=False)) is usable


def test_a_sender_must_be_an_address() -> None:
    with pytest.raises(InvalidError):
        senders.identify(cast.make_publisher(), "news")
