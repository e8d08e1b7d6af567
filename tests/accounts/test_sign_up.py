from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db.models.functions import Now
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.doors.adapter import AccountAdapter
from accounts.doors.invited import SESSION_KEY
from accounts.links import INVITATION
from accounts.models import Invitation, Role, User
from core.tokens import make_token
from tests import cast
from tests.accounts.doors import ZOE, App, forget_limits, is_logged_in, log_in, sign_up

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_counted() -> Iterator[None]:
    forget_limits()
    yield
    forget_limits()


def invite(address: str = ZOE, **fields: Any) -> Invitation:
    defaults: dict[str, Any] = {"role": Role.EDITOR, "expires_at": Now() + timedelta(days=7)}
    return Invitation.objects.create(publisher=cast.make_publisher(), address=address, **(defaults | fields))


def arrive_with(invitation: Invitation) -> Client:
    client = Client()
    session = client.session
    session[SESSION_KEY] = invitation.pk
    session.save()
    return client


def test_everybody_may_sign_up_where_it_is_open(settings: Settings) -> None:
    settings.SIGN_UP = "open"
    client = Client()
    answer = sign_up(client, "Zoe@Example.org", name="Zoë")
    assert answer.status_code == 302
    user = User.objects.get()
    assert (user.email, user.name, user.is_staff) == (ZOE, "Zoë", False)
    assert user.check_password(cast.PASSWORD)
    address = EmailAddress.objects.get()
    assert (address.email, address.verified, address.primary) == (ZOE, False, True)
    assert not is_logged_in(client)


def test_nobody_logs_in_before_the_address_is_verified(settings: Settings) -> None:
    settings.SIGN_UP = "open"
    sign_up(Client())
    client = Client()
    assert log_in(client).status_code == 302
    assert not is_logged_in(client)
    EmailAddress.objects.update(verified=True)
    log_in(client)
    assert is_logged_in(client)


@pytest.mark.parametrize("mode", ["invitation", "closed"])
def test_nobody_signs_up_without_an_invitation_where_it_takes_one(settings: Settings, mode: str) -> None:
    settings.SIGN_UP = mode
    page = Client().get("/account/signup/")
    assert (page.status_code, b"password1" in page.content) == (200, False)
    sign_up(Client())
    answer = App().post("auth/signup", email=ZOE, password=cast.PASSWORD)
    assert answer.status_code == 403
    assert not User.objects.exists()


def test_the_invited_sign_up_with_their_address_and_are_in_at_once(settings: Settings) -> None:
    settings.SIGN_UP = "invitation"
    client = arrive_with(invite("Zoe@example.org"))
    assert b'value="Zoe@example.org"' in client.get("/account/signup/").content
    sign_up(client, ZOE)
    assert is_logged_in(client)
    address = EmailAddress.objects.get()
    assert (address.email, address.verified, address.primary) == (ZOE, True, True)


def test_an_invitation_is_good_for_no_other_address(settings: Settings) -> None:
    settings.SIGN_UP = "invitation"
    answer = sign_up(arrive_with(invite()), "eve@example.org")
    assert (answer.status_code, User.objects.exists()) == (200, False)
    assert b"another address" in answer.content


def test_where_sign_up_is_open_an_invitation_verifies_no_other_address(settings: Settings) -> None:
    settings.SIGN_UP = "open"
    client = arrive_with(invite())
    sign_up(client, "eve@example.org")
    address = EmailAddress.objects.get()
    assert (address.email, address.verified, is_logged_in(client)) == ("eve@example.org", False, False)


@pytest.mark.parametrize("field", ["expires_at", "withdrawn_at", "accepted_at"])
def test_an_invitation_that_does_not_stand_any_more_opens_nothing(settings: Settings, field: str) -> None:
    settings.SIGN_UP = "invitation"
    invitation = invite()
    client, token = arrive_with(invitation), make_token(INVITATION, invitation.pk)
    Invitation.objects.update(**{field: Now()})
    sign_up(client)
    answer = App().post("auth/signup", email=ZOE, password=cast.PASSWORD, invitation=token)
    assert (answer.status_code, User.objects.exists()) == (400, False)


def test_a_program_signs_up_with_the_token_of_an_invitation(settings: Settings) -> None:
    settings.SIGN_UP = "invitation"
    app, token = App(), make_token(INVITATION, invite().pk)
    assert app.post("auth/signup", email="eve@example.org", password=cast.PASSWORD, invitation=token).status_code == 400
    answer = app.post("auth/signup", email=ZOE, password=cast.PASSWORD, name="Zoë", invitation=token)
    assert (answer.status_code, User.objects.get().name) == (200, "Zoë")
    assert app.call("GET", "auth/session").status_code == 200


@pytest.mark.parametrize("token", ["x", "0" * 43, "unsubscribe"])
def test_a_forged_token_of_an_invitation_opens_nothing(settings: Settings, token: str) -> None:
    settings.SIGN_UP = "invitation"
    invite(pk=1)
    sent = make_token("unsubscribe", 1) if token == "unsubscribe" else token
    answer = App().post("auth/signup", email=ZOE, password=cast.PASSWORD, invitation=sent)
    assert (answer.status_code, User.objects.exists()) == (400, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("password1", "eleven char"),
        ("password1", "password1234"),
        ("email", "zoe@localhost"),
        ("email", "zoe@example.org\r\nBcc: eve@example.org"),
        ("email", '"zoe doe"@example.org'),
        ("email", "=?utf-8?q?zoe?=@example.org"),
        ("name", "Zoë\r\nBcc: eve@example.org"),
        ("name", "Zoë\u2028Doe"),
        ("name", "z" * 101),
    ],
)
def test_sign_up_refuses_what_is_weak_or_would_end_a_header_line(settings: Settings, field: str, value: str) -> None:
    settings.SIGN_UP = "open"
    assert sign_up(Client(), **{"email": ZOE, field: value}).status_code == 200
    in_json = {"email": ZOE, "password": cast.PASSWORD, field.removesuffix("1"): value}
    assert App().post("auth/signup", **in_json).status_code == 400
    assert not User.objects.exists()


@pytest.mark.parametrize("door", ["page", "json"])
def test_user_address_and_mail_are_stored_together_or_not_at_all(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    settings.SIGN_UP = "open"

    def fail(*_arguments: Any, **_named: Any) -> None:
        assert User.objects.exists()
        raise RuntimeError("the mail cannot be stored")

    monkeypatch.setattr(AccountAdapter, "send_confirmation_mail", fail)
    in_json = {"email": ZOE, "password": cast.PASSWORD}
    with pytest.raises(RuntimeError):
        _ = sign_up(Client()) if door == "page" else App().post("auth/signup", **in_json)
    assert not User.objects.exists()
    assert not EmailAddress.objects.exists()


def test_who_is_made_by_the_operator_logs_in_at_once() -> None:
    cast.make_user("Editor@Gazette.example")
    client = Client()
    log_in(client, "editor@gazette.example")
    assert is_logged_in(client)
    app = App()
    assert app.post("auth/login", email="EDITOR@gazette.example", password=cast.PASSWORD).status_code == 200


def test_an_address_that_a_superuser_changes_is_the_one_to_log_in_with() -> None:
    root = User.objects.create_superuser("root@example.org", cast.PASSWORD)
    user = cast.make_user()
    client = Client()
    client.force_login(root)
    empty = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    form = {"email": "new@gazette.example", "name": "", "is_active": "on", **empty}
    assert client.post(f"/admin/accounts/user/{user.pk}/change/", form).status_code == 302
    other = Client()
    log_in(other, "editor@gazette.example")
    assert not is_logged_in(other)
    log_in(other, "new@gazette.example")
    assert is_logged_in(other)
    form = {"email": "made@gazette.example", "usable_password": "true", "password1": cast.PASSWORD} | empty
    assert client.post("/admin/accounts/user/add/", form | {"password2": cast.PASSWORD}).status_code == 302
    assert is_logged_in_as("made@gazette.example")


def is_logged_in_as(address: str) -> bool:
    client = Client()
    log_in(client, address)
    return is_logged_in(client)
