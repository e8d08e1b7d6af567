"""An address belongs to the account that has it; who only asks to change to it keeps nobody out."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from django.test import Client
from django.urls import reverse

from accounts.models import AccountMail, User
from tests import cast
from tests.accounts.doors import ZOE, App, is_logged_in, log_in, post, sign_up
from tests.admin.desks import sit_down
from tests.racing import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.dialects, pytest.mark.usefixtures("open_sign_up")]
EVE = "eve@example.org"


def ask_for(address: str, *, by: str = EVE) -> EmailAddress:
    """Let somebody ask to change to an address, and not verify it."""
    browser = sit_down(cast.make_user(by))
    post(browser, "account_reauthenticate", password=cast.PASSWORD)
    assert post(browser, "account_email", action_add="", email=address).status_code == 302
    return EmailAddress.objects.get(user__email=by, verified=False)


def page_of(row: EmailAddress) -> str:
    return reverse("account_confirm_email", args=[EmailConfirmationHMAC(row).key])


def test_who_only_asks_for_an_address_keeps_nobody_from_signing_up_with_it() -> None:
    ask_for(ZOE)
    unknown = sign_up(Client(), "nobody@example.org")
    answer = sign_up(Client())
    assert (answer.status_code, answer["Location"]) == (unknown.status_code, unknown["Location"])
    assert User.objects.filter(email=ZOE).exists()


def test_a_program_signs_up_with_it_as_well() -> None:
    ask_for(ZOE)
    answers = [App().post("auth/signup", email=one, password=cast.PASSWORD) for one in (ZOE, "nobody@example.org")]
    assert answers[0].status_code == answers[1].status_code == 401
    assert User.objects.filter(email=ZOE).exists()


def test_the_address_of_an_account_is_taken_before_it_is_verified_too() -> None:
    sign_up(Client())
    AccountMail.objects.all().delete()
    sign_up(Client())
    assert User.objects.filter(email=ZOE).count() == 1


def test_whoever_verifies_it_ends_what_others_asked_for() -> None:
    stale = ask_for(ZOE)
    page = page_of(stale)
    sign_up(Client())
    mine = EmailAddress.objects.get(email=ZOE, primary=True)
    assert Client().post(page_of(mine)).status_code == 302
    assert not EmailAddress.objects.filter(pk=stale.pk).exists()
    late = Client()
    assert b"This link does not work" in late.get(page).content
    assert late.post(page).status_code == 404
    assert User.objects.get(pk=stale.user_id).email == EVE
    client = Client()
    log_in(client)
    assert is_logged_in(client)


def test_whom_the_operator_makes_ends_it_as_well() -> None:
    stale = ask_for(ZOE)
    cast.make_user(ZOE)
    assert not EmailAddress.objects.filter(pk=stale.pk).exists()


def test_the_address_that_somebody_signed_up_with_meanwhile_is_not_taken_from_them() -> None:
    stale = ask_for(ZOE)
    sign_up(Client())
    refused = Client().post(page_of(stale))
    assert (refused.status_code, b"This address is taken" in refused.content) == (409, True)
    in_json = App().post("auth/email/verify", key=EmailConfirmationHMAC(stale).key)
    assert (in_json.status_code, in_json.json()["errors"][0]["code"]) == (400, "email_taken")
    assert User.objects.get(pk=stale.user_id).email == EVE
    assert EmailAddress.objects.filter(verified=True).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["page", "json"])
def test_of_several_who_verify_one_address_at_once_one_wins_and_the_others_are_told(door: str) -> None:
    rows = [ask_for(ZOE, by=f"eve-{number}@example.org") for number in range(5)]
    keys = [EmailConfirmationHMAC(row).key for row in rows]

    def verify(key: str) -> Any:
        page = Client().post(reverse("account_confirm_email", args=[key])) if door == "page" else None
        return page or App().post("auth/email/verify", key=key)

    answers = at_once(*[functools.partial(verify, key) for key in keys])
    statuses = [answer.status_code for answer in answers]
    won, told = (302, {404, 409}) if door == "page" else (401, {400})
    assert statuses.count(won) == 1
    assert set(statuses) - {won} <= told
    assert len(statuses) == 5
    assert list(EmailAddress.objects.filter(email=ZOE).values_list("verified", "primary")) == [(True, True)]
    assert User.objects.filter(email=ZOE).count() == 1
