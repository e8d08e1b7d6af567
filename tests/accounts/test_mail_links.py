from __future__ import annotations

import threading
import time
from datetime import datetime

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.core.exceptions import ImmediateHttpResponse
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import mail
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse

from accounts import links
from accounts.doors.invited import open_invitation
from accounts.mailing import queue
from accounts.models import AccountMail
from core.models import MailState
from tests import cast
from tests.accounts.mail_acts import NEW_PASSWORD, Kind, adapter, invite, link, person, reset, sent, verify

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
HOUR, DAY = 3_600, 86_400


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time() + seconds
    today = datetime.fromtimestamp(now)  # noqa: DTZ006  # as Django has it
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(PasswordResetTokenGenerator, "_now", lambda _: today)


def verification(email: str = cast.BORIS) -> AccountMail:
    user, address = person(email)
    return queue(Kind.VERIFY_ADDRESS, to=email, user=user, email_address=address)


def test_the_paths_of_links_are_those_of_the_pages() -> None:
    user, address = person()
    assert links.verification_link(address).endswith(reverse("account_confirm_email", args=["KEY"]).partition("KEY")[2])
    for made, name, kwargs in (
        (links.verification_link(address), "account_confirm_email", {"key": "KEY"}),
        (links.reset_link(user), "account_reset_password_from_key", {"uidb36": "KEY", "key": "KEY"}),
        (links.log_in_page(), "account_login", {}),
        (links.reset_page(), "account_reset_password", {}),
    ):
        assert reverse(name, kwargs=kwargs).partition("KEY")[0] in made


def test_a_verification_link_works_once() -> None:
    row = verification()
    assert sent(row).state == MailState.SENT
    assert verify(link())
    assert not verify(link())


def test_a_verification_link_works_for_three_days(monkeypatch: pytest.MonkeyPatch) -> None:
    sent(verification())
    sent(verification(cast.CHLOE))
    later(monkeypatch, 3 * DAY - 60)
    assert verify(link())
    mail.outbox.pop()
    later(monkeypatch, 120)
    assert not verify(link())


def test_a_verification_link_is_bound_to_its_address() -> None:
    sent(verification())
    path = link()
    EmailAddress.objects.all().delete()
    EmailAddress.objects.create(user=cast.make_user(cast.ADA), email="x@example.org")
    assert not verify(path)
    assert not verify(path.replace("/confirm-email/", "/confirm-email/X"))


def test_a_link_verifies_nothing_while_another_verified_the_address() -> None:
    row = sent(verification())
    path = link()
    assert row.email_address is not None
    before = EmailConfirmationHMAC.from_key(path.rstrip("/").rpartition("/")[2])
    assert verify(path)
    with pytest.raises(ImmediateHttpResponse):
        adapter().confirm_email(adapter().request, before.email_address)


def test_no_verification_link_survives_a_new_password() -> None:
    row = sent(verification())
    path, user = link(), row.user
    assert user is not None
    adapter().set_password(user, NEW_PASSWORD)
    assert not verify(path)
    again = EmailAddress.objects.get(user=user)
    assert (again.email, again.primary, again.verified) == (cast.BORIS, True, False)
    row.refresh_from_db()
    assert row.email_address == again
    sent(queue(Kind.VERIFY_ADDRESS, to=cast.BORIS, user=user, email_address=again))
    assert verify(link())


def test_a_new_password_leaves_verified_addresses_alone() -> None:
    user, address = person(verified=True)
    waiting = EmailAddress.objects.create(user=user, email="new@example.org")
    adapter().set_password(user, NEW_PASSWORD)
    kept, replaced = EmailAddress.objects.filter(user=user).order_by("pk")
    assert (kept.pk, kept.verified, kept.primary) == (address.pk, True, True)
    assert (replaced.email, replaced.verified, replaced.primary) == ("new@example.org", False, False)
    assert replaced.pk > waiting.pk


def test_a_reset_link_works_once_and_for_one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    user, _ = person(verified=True)
    sent(queue(Kind.RESET_PASSWORD, to=user.email, user=user))
    first = link()
    assert reset(first)
    assert not reset(first, cast.PASSWORD)
    user.refresh_from_db()
    assert user.check_password(NEW_PASSWORD)
    sent(queue(Kind.RESET_PASSWORD, to=user.email, user=user))
    later(monkeypatch, HOUR - 60)
    assert Client().get(link()).status_code == 302
    later(monkeypatch, 120)
    assert not reset(link(), cast.PASSWORD)


def test_no_reset_link_survives_a_new_password_or_a_change_of_address() -> None:
    user, address = person(verified=True)
    sent(queue(Kind.RESET_PASSWORD, to=user.email, user=user))
    first = link()
    adapter().set_password(user, NEW_PASSWORD)
    assert not reset(first)
    sent(queue(Kind.RESET_PASSWORD, to=user.email, user=user))
    EmailAddress.objects.filter(pk=address.pk).update(email="new@example.org")
    assert not reset(link())


def test_an_invitation_link_names_its_invitation() -> None:
    invitation = invite()
    sent(queue(Kind.INVITATION, to=invitation.address, invitation=invitation))
    token = link().removeprefix("/invitations/")
    assert open_invitation(token) == invitation


def test_both_links_work_when_a_mail_went_out_twice() -> None:
    row = verification()
    sent(row)
    first = link()
    AccountMail.objects.update(state=MailState.QUEUED)
    sent(row)
    second = link()
    assert verify(second)
    assert not verify(first)
    user, _ = person(cast.CHLOE, verified=True)
    row = queue(Kind.RESET_PASSWORD, to=user.email, user=user)
    sent(row)
    first = link()
    AccountMail.objects.filter(pk=row.pk).update(state=MailState.QUEUED)
    sent(row)
    assert reset(link())
    assert not reset(first)


def test_a_forged_link_is_answered_with_a_page() -> None:
    for path in ("/account/confirm-email/MQ:1abc:forged/", "/account/password/reset/key/1-abc-def/"):
        assert Client().get(path).status_code in {200, 404}


@pytest.mark.django_db(transaction=True)
def test_a_link_that_is_used_while_the_password_is_set_verifies_nothing_or_only_itself() -> None:
    user, address = person()
    locked, done = threading.Event(), threading.Event()
    answers: list[int] = []

    def use() -> None:
        locked.wait(5)
        try:
            adapter().confirm_email(adapter().request, address)
        except ImmediateHttpResponse as refused:
            answers.append(refused.response.status_code)
        connection.close()
        done.set()

    thread = threading.Thread(target=use)
    thread.start()
    with transaction.atomic():
        links.end_links(user)
        locked.set()
        done.wait(0.3)
    thread.join()
    assert answers == [409]
    assert [row.verified for row in EmailAddress.objects.all()] == [False]
