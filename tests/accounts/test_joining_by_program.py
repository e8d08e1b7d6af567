"""Somebody who has an account accepts an invitation by program."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models.functions import Now

from accounts.links import INVITATION
from accounts.models import Invitation, Publisher, User
from core.tokens import make_token
from newsletters.models import MemberLimit
from tests import cast
from tests.accounts.doors import App
from tests.accounts.gazette import GUEST, VERA, invite, person, roles
from tests.admin.desks import sit_down

pytestmark = [pytest.mark.django_db, pytest.mark.dialects, pytest.mark.usefixtures("nothing_counted")]
PATH = "account/invitations"


@pytest.fixture
def gazette() -> Publisher:
    return cast.make_publisher()


@pytest.fixture
def owner(gazette: Publisher) -> User:
    return person(gazette)


def app_of(user: User) -> App:
    app = App()
    app.token = sit_down(user).session.session_key or ""
    return app


def token(invitation: Invitation) -> str:
    return make_token(INVITATION, invitation.pk)


def test_an_invitation_is_accepted_once(gazette: Publisher, owner: User) -> None:
    weekly = cast.make_newsletter(gazette)
    guest, invitation = cast.make_user(GUEST), invite(gazette, by=owner, newsletters=[weekly])
    app = app_of(guest)
    answer = app.post(PATH, invitation=token(invitation))
    assert answer.status_code == 200
    publisher = {"id": gazette.uid, "name": gazette.name}
    assert answer.json()["data"] == {"publisher": publisher, "role": "editor", "limited": True}
    assert roles(gazette)[GUEST] == "editor"
    assert MemberLimit.objects.get().newsletter == weekly
    again = app.post(PATH, invitation=token(invitation))
    assert (again.status_code, again.json()["errors"][0]["code"]) == (400, "no_invitation")


def test_whom_it_is_not_for_is_told_so(gazette: Publisher, owner: User) -> None:
    invitation = invite(gazette, by=owner)
    other = app_of(cast.make_user(VERA)).post(PATH, invitation=token(invitation))
    assert (other.status_code, other.json()["errors"][0]["code"]) == (403, "other_address")
    assert App().post(PATH, invitation=token(invitation)).status_code == 401
    assert set(roles(gazette)) == {owner.email}


def test_a_member_is_not_made_one_twice(gazette: Publisher, owner: User) -> None:
    invitation = invite(gazette, by=owner)
    answer = app_of(person(gazette, GUEST)).post(PATH, invitation=token(invitation))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "already_member")


@pytest.mark.parametrize("sent", [None, "", "x", 5, "x" * 5_000, "withdrawn"])
def test_what_opens_nothing_is_400(gazette: Publisher, owner: User, sent: Any) -> None:
    if sent == "withdrawn":
        invitation = invite(gazette, by=owner)
        Invitation.objects.update(withdrawn_at=Now())
        sent = token(invitation)
    answer = app_of(cast.make_user(GUEST)).post(PATH, invitation=sent)
    assert (answer.status_code, answer.json()["errors"][0]["param"]) == (400, "invitation")


def test_who_needs_a_second_factor_first_is_told_so(gazette: Publisher, owner: User, settings: Any) -> None:
    settings.REQUIRE_MFA = "everyone"
    answer = app_of(cast.make_user(GUEST)).post(PATH, invitation=token(invite(gazette, by=owner)))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "second_factor_required")
