from __future__ import annotations

from datetime import timedelta

import pytest
from allauth.account.models import EmailConfirmationHMAC
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from accounts.links import password_mark
from accounts.mailing import due_ids, forget_old, queue
from accounts.models import AccountMail, AccountMailKind
from core.models import MailState
from tests import cast
from tests.accounts.mail_acts import Kind, adapter, invite, person, request

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind != Kind.ADDRESS_TAKEN])
def test_a_mail_about_nothing_is_refused(kind: AccountMailKind) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        queue(kind, to=cast.ADA)
    assert not AccountMail.objects.exists()


def test_a_security_notice_without_an_event_is_refused() -> None:
    user, _ = person()
    with pytest.raises(IntegrityError), transaction.atomic():
        queue(Kind.SECURITY_NOTICE, to=user.email, user=user, detail={"ip": "192.0.2.1"})


def test_each_kind_of_mail_can_be_queued() -> None:
    user, address = person()
    queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address)
    queue(Kind.ADDRESS_TAKEN, to=user.email)
    queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    queue(Kind.INVITATION, to=cast.BORIS, invitation=invite())
    queue(Kind.SECURITY_NOTICE, to=user.email, user=user, detail={"event": "role_changed"})
    assert set(AccountMail.objects.values_list("kind", "state")) == {(kind, "queued") for kind in Kind}


def test_no_secret_lies_in_the_row_of_a_mail() -> None:
    user, address = person()
    key = EmailConfirmationHMAC(address).key
    queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address)
    queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_accountmail")
        row = str(cursor.fetchall())
    assert user.password not in row
    assert key.partition(":")[0] + ":" not in row


def test_the_mark_of_a_password_changes_with_it() -> None:
    user, _ = person()
    before = password_mark(user)
    user.set_password("another long pass phrase")
    assert before != password_mark(user)


def test_the_adapter_queues_what_django_allauth_would_send() -> None:
    user, address = person()
    adapter().send_confirmation_mail(request(), EmailConfirmationHMAC(address), signup=True)
    adapter().send_password_reset_mail(user, user.email, {"key": "secret"})
    adapter().send_account_already_exists_mail(user.email)
    adapter().send_notification_mail("mfa/email/totp_activated", user, {"more": 5})
    rows = AccountMail.objects.order_by("pk")
    assert [(row.kind, row.to_address, row.user) for row in rows] == [
        (Kind.VERIFY_ADDRESS, user.email, user),
        (Kind.RESET_PASSWORD, user.email, user),
        (Kind.ADDRESS_TAKEN, user.email, None),
        (Kind.SECURITY_NOTICE, user.email, user),
    ]
    assert rows[0].email_address == address
    assert rows[3].detail == {"event": "totp_activated", "ip": "127.0.0.1", "user_agent": "Lynx", "more": "5"}
    assert mail.outbox == []


def test_a_mail_that_no_kind_stands_for_is_neither_sent_nor_queued() -> None:
    adapter().send_mail("account/email/unknown_account", cast.ADA, {})
    assert mail.outbox == []
    assert not AccountMail.objects.exists()


def test_the_mails_about_an_account_go_with_it() -> None:
    user, address = person()
    queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address)
    user.delete()
    assert not AccountMail.objects.exists()


def test_whoever_asks_again_gets_the_mail_that_still_waits_at_once() -> None:
    user, address = person()
    for again in range(2):
        reset = queue(Kind.RESET_PASSWORD, to=user.email, user=user)
        row = queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address)
        assert AccountMail.objects.count() == 2
        assert set(due_ids(10)) == {reset.pk, row.pk}, again
        AccountMail.objects.update(next_at=Now() + timedelta(hours=12))


def test_mails_that_differ_or_are_under_way_are_queued_beside() -> None:
    user, _ = person()
    first = queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    user.set_password("another long pass phrase")
    second = queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    AccountMail.objects.update(state=MailState.SENDING)
    third = queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    notices = [queue(Kind.SECURITY_NOTICE, to=user.email, user=user, detail={"event": "x"}) for _ in range(2)]
    assert len({first.pk, second.pk, third.pk, *(notice.pk for notice in notices)}) == 5


def test_mails_are_forgotten_30_days_after_they_ended() -> None:
    fields = {"kind": Kind.ADDRESS_TAKEN, "to_address": cast.ADA}
    old, new = Now() - timedelta(days=31), Now() - timedelta(days=29)
    kept = [
        AccountMail.objects.create(**fields, state=state, created_at=old, sent_at=sent_at)
        for state, sent_at in (("queued", None), ("sending", None), ("sent", new))
    ]
    kept.append(AccountMail.objects.create(**fields, state="failed", created_at=new))
    for state, sent_at in (("sent", old), ("failed", None)):
        AccountMail.objects.create(**fields, state=state, created_at=old, sent_at=sent_at)
    assert forget_old() == 2
    assert set(AccountMail.objects.values_list("pk", flat=True)) == {row.pk for row in kept}
    assert forget_old() == 0
