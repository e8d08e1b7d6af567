from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import AccountMail, AccountMailKind, AuditEntry, Membership, Publisher, Role, User
from tests import cast
from tests.accounts.doors import ZOE, is_logged_in, log_in, sign_up
from tests.services.environment import ROOT, clean_environment

pytestmark = pytest.mark.django_db


@pytest.fixture
def create_owner(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def run(*arguments: str, typed: str = "") -> str:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        call_command("create_owner", "--email", ZOE, *arguments, stdout=out, stderr=io.StringIO())
        return out.getvalue().strip()

    return run


def test_the_first_owner_logs_in_and_opens_the_admin(create_owner: Callable[..., str]) -> None:
    printed = create_owner("--publisher", "Daily Planet", "--name", "Zoë", "--password-stdin", typed=cast.PASSWORD)
    membership = Membership.objects.get()
    assert printed == membership.publisher.uid
    assert (membership.publisher.name, membership.role, membership.user.name) == ("Daily Planet", Role.OWNER, "Zoë")
    client = Client()
    log_in(client)
    assert client.get("/admin/").status_code == 200
    assert AuditEntry.objects.earliest("pk").action == "owner.created"


def test_without_a_password_a_link_to_set_one_is_mailed_once(create_owner: Callable[..., str]) -> None:
    create_owner()
    mail = AccountMail.objects.get()
    assert (mail.kind, mail.to_address, mail.user) == (AccountMailKind.RESET_PASSWORD, ZOE, User.objects.get())
    assert EmailAddress.objects.get().verified
    create_owner("--password-stdin", typed=cast.PASSWORD + "\n")
    assert AccountMail.objects.count() == 1


def test_somebody_with_an_account_is_extended_and_keeps_the_password(create_owner: Callable[..., str]) -> None:
    publisher = cast.make_publisher("Daily Planet")
    user = cast.make_user(ZOE, publisher=publisher, role=Role.VIEWER)
    assert create_owner() == publisher.uid
    assert (Membership.objects.get().role, User.objects.get()) == (Role.OWNER, user)
    assert not AccountMail.objects.exists()
    client = Client()
    log_in(client)
    assert is_logged_in(client)


def test_who_signed_up_with_an_address_and_never_verified_it_does_not_become_its_owner(
    create_owner: Callable[..., str], settings: Any
) -> None:
    settings.SIGN_UP = "open"
    sign_up(Client())
    create_owner()
    client = Client()
    log_in(client)
    assert not is_logged_in(client)
    assert AccountMail.objects.latest("pk").kind == AccountMailKind.RESET_PASSWORD


def test_nor_does_a_new_publisher_get_them_for_an_owner(settings: Any) -> None:
    settings.SIGN_UP = "open"
    sign_up(Client())
    call_command("create_publisher", "--name", "Daily Planet", "--owner-email", ZOE, stdout=io.StringIO())
    user = User.objects.get()
    assert (user.has_usable_password(), Membership.objects.get().user) == (False, user)


def test_a_new_publisher_leaves_the_password_of_a_verified_owner(settings: Any) -> None:
    cast.make_user(ZOE)
    call_command("create_publisher", "--name", "Daily Planet", "--owner-email", ZOE, stdout=io.StringIO())
    client = Client()
    log_in(client)
    assert is_logged_in(client)


def test_which_publisher_is_meant_is_asked_where_there_are_several(create_owner: Callable[..., str]) -> None:
    first = cast.make_publisher("Daily Planet")
    cast.make_publisher("Daily Bugle")
    with pytest.raises(CommandError, match="--publisher"):
        create_owner()
    assert not User.objects.exists()
    assert create_owner("--publisher", first.uid) == create_owner("--publisher", "Daily Planet") == first.uid


@pytest.mark.parametrize(
    "arguments",
    [
        ("--email", "zoe@localhost"),
        ("--email", "zoe"),
        ("--publisher", "pub_00000000000000000000000000"),
        ("--publisher", "x" * 101),
        ("--publisher", "Twins"),
        ("--name", "Zoë\nBcc"),
        ("--name", "z" * 101),
        ("--password-stdin",),
    ],
)
def test_a_wrong_argument_changes_nothing(create_owner: Callable[..., str], arguments: tuple[str, ...]) -> None:
    cast.make_publisher("Twins")
    cast.make_publisher("Twins")
    with pytest.raises(CommandError):
        create_owner("--publisher", "Planet", *arguments, typed="short")
    assert (User.objects.count(), Publisher.objects.count()) == (0, 2)


def test_passwords_that_differ_change_nothing(
    create_owner: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter([cast.PASSWORD, cast.PASSWORD + "x"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(typed))
    with pytest.raises(CommandError, match="differ"):
        create_owner("--ask-password")
    assert not User.objects.exists()


def test_a_database_without_tables_is_told_in_one_line(tmp_path: Path) -> None:
    environment = clean_environment() | {"DATABASE_URL": f"sqlite:///{tmp_path}/empty.sqlite3"}
    arguments = [sys.executable, "manage.py", "create_owner", "--email", ZOE]
    ended = subprocess.run(
        arguments, cwd=ROOT, env=os.environ | environment, check=False, capture_output=True, text=True, timeout=300
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "manage.py migrate" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
