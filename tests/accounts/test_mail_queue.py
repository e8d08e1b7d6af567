from __future__ import annotations

from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest
from django.test import RequestFactory

from accounts.doors.adapter import AccountAdapter
from accounts.mailing import password_mark, queue
from accounts.models import AccountMail, AccountMailKind, Invitation, Role, User
from tests import cast

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
Kind = AccountMailKind


def person(email: str = cast.EDITOR, *, verified: bool = False) -> tuple[User, EmailAddress]:
    user = cast.make_user(email)
    EmailAddress.objects.filter(user=user).update(verified=verified)
    return user, EmailAddress.objects.get(user=user)


def invite(address: str = cast.BORIS, **fields: Any) -> Invitation:
    defaults: dict[str, Any] = {"publisher": cast.make_publisher(), "role": Role.EDITOR}
    return Invitation.objects.create(address=address, expires_at="2100-01-01T00:00:00Z", **(defaults | fields))


def request() -> HttpRequest:
    return RequestFactory().get("/", headers={"User-Agent": "Lynx"})


def adapter() -> AccountAdapter:
    made = AccountAdapter()
    made.request = request()
    return made


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
