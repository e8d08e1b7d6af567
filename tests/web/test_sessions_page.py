"""The list of one's own sessions: what they are called, and ending one."""

from __future__ import annotations

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, User
from tests import cast
from tests.accounts.doors import log_in
from tests.web.page_reader import check

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_doors")]


def test_a_session_is_ended_by_its_owner_alone(inside: Client, person: User) -> None:
    elsewhere, somebody = Client(), Client()
    log_in(elsewhere, person.email)
    log_in(somebody, cast.make_user("other@gazette.example").email)
    session = UserSession.objects.get(session_key=elsewhere.session.session_key)
    path = reverse("session_end", args=[session.pk])
    assert somebody.post(path).status_code == 404
    assert inside.get(path).status_code == 405
    assert path in check(inside.get(reverse("usersessions_list"))).addresses
    assert path not in check(elsewhere.get(reverse("usersessions_list"))).addresses
    assert inside.post(path)["Location"] == reverse("usersessions_list")
    assert elsewhere.get(reverse("account_overview")).status_code == 302
    assert inside.get(reverse("account_overview")).status_code == 200
    assert AuditEntry.objects.filter(action="session.ended_elsewhere").count() == 1


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 Version/18.5 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", "Unknown"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_a_session_is_called_what_people_call_its_browser(person: User, user_agent: str, name: str) -> None:
    browser = Client(headers={"user-agent": user_agent})
    log_in(browser, person.email)
    page = browser.get(reverse("usersessions_list"))
    check(page)
    assert f">{name}</span>" in page.content.decode()
