from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts.mailing import queue
from accounts.models import AccountMail
from tests import cast
from tests.accounts.mail_acts import NEW_PASSWORD, Kind, link, person, sent, verify

pytestmark = pytest.mark.django_db
LIST = "admin:accounts_accountmail_changelist"


@pytest.fixture
def superuser(client: Client) -> Client:
    client.force_login(cast.make_user("root@example.org", is_staff=True, is_superuser=True))
    return client


def verification() -> AccountMail:
    user, address = person()
    return queue(Kind.VERIFY_ADDRESS, to=user.email, user=user, email_address=address)


def test_a_superuser_reads_what_became_of_mails_and_changes_nothing(superuser: Client) -> None:
    row = sent(verification())
    AccountMail.objects.update(uncertain=True, last_reply="451 4.3.0 busy")
    found = superuser.get(reverse(LIST), {"uncertain__exact": 1}).content.decode()
    assert row.to_address in found
    assert '<td class="field-doubt">uncertain</td>' in found
    assert "451 4.3.0 busy" in found
    page = superuser.get(reverse("admin:accounts_accountmail_change", args=[row.pk]))
    assert page.status_code == 200
    assert row.uid in page.content.decode()
    assert row.password_mark not in page.content.decode()
    for name, arguments in (("add", []), ("delete", [row.pk])):
        assert superuser.get(reverse(f"admin:accounts_accountmail_{name}", args=arguments)).status_code == 403
    assert superuser.post(reverse("admin:accounts_accountmail_change", args=[row.pk]), {}).status_code == 403


def test_nobody_else_sees_mails_about_people(client: Client) -> None:
    row = verification()
    client.force_login(cast.make_user("owner@example.org", publisher=cast.make_publisher(), is_staff=True))
    assert client.get(reverse(LIST)).status_code == 403
    assert client.get(reverse("admin:accounts_accountmail_change", args=[row.pk])).status_code in {302, 403}
    assert "accountmail" not in client.get(reverse("admin:index")).content.decode()


def test_no_link_survives_a_password_that_is_set_in_the_admin(superuser: Client) -> None:
    row = sent(verification())
    assert row.user is not None
    path = reverse("admin:auth_user_password_change", args=[row.user.pk])
    answer = superuser.post(path, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "usable_password": "true"})
    assert answer.status_code == 302
    row.user.refresh_from_db()
    assert row.user.check_password(NEW_PASSWORD)
    assert not verify(link())
