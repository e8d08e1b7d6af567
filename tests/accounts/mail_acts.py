"""People, invitations and their mails, and what a test does with them."""

from __future__ import annotations

import re
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.http import HttpRequest
from django.test import Client, RequestFactory

from accounts.doors.adapter import AccountAdapter
from accounts.mailing import send
from accounts.models import AccountMail, AccountMailKind, Invitation, Role, User
from newsletters.delivery import restore_watch
from tests import cast

Kind = AccountMailKind
NEW_PASSWORD = "another long pass phrase"


def person(email: str = cast.BORIS, *, verified: bool = False) -> tuple[User, EmailAddress]:
    """Return somebody who has signed up, and their address."""
    user = User(email=email, name="Boris")
    user.set_password(cast.PASSWORD)
    user.save()
    return user, EmailAddress.objects.create(user=user, email=email, primary=True, verified=verified)


def invite(address: str = cast.CHLOE, **fields: Any) -> Invitation:
    defaults: dict[str, Any] = {"publisher": cast.make_publisher(), "role": Role.EDITOR}
    return Invitation.objects.create(address=address, **({"expires_at": "2100-01-01T00:00:00Z"} | defaults | fields))


def request() -> HttpRequest:
    return RequestFactory().get("/", headers={"User-Agent": "Lynx"})


def adapter() -> AccountAdapter:
    made = AccountAdapter()
    made.request = request()
    return made


def sent(row: AccountMail) -> AccountMail:
    """Let a worker have the mail, and return what became of it."""
    send(row.pk, guard=restore_watch)
    row.refresh_from_db()
    return row


def last_message() -> EmailMultiAlternatives:
    message = mail.outbox[-1]
    assert isinstance(message, EmailMultiAlternatives)
    return message


def link() -> str:
    """Return the path of the link in the last mail, the same in both of its parts."""
    message = last_message()
    found = re.search(rf"^{re.escape(settings.BASE_URL)}(/\S+)$", str(message.body), re.MULTILINE)
    assert found
    assert f'href="{settings.BASE_URL}{found[1]}"' in str(message.alternatives[0][0])
    return found[1]


def verify(path: str) -> bool:
    """Open a verification link in a browser of its own and press the button; says whether that verified anything."""
    client, before = Client(), EmailAddress.objects.filter(verified=True).count()
    client.get(path)
    assert EmailAddress.objects.filter(verified=True).count() == before
    client.post(path)
    return bool(EmailAddress.objects.filter(verified=True).count() == before + 1)


def reset(path: str, password: str = NEW_PASSWORD) -> bool:
    """Open a reset link in a browser of its own and set a password; says whether it was set."""
    client = Client()
    form = client.get(path)
    if form.status_code != 302:
        return False
    answer = client.post(form["Location"], {"password1": password, "password2": password})
    return bool(answer.status_code == 302)
