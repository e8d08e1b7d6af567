"""From an owner's form to the link in the mail: who invites, whom, and how they come in."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.links import INVITATION
from accounts.models import AccountMail, Invitation, Membership, Role, User
from core.tokens import make_token
from newsletters.models import MemberLimit
from tests import cast
from tests.accounts.doors import sign_up
from tests.accounts.gazette import EMIL, GUEST, roles
from tests.web.people import House, sit_down

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> House:
    return House()


def link(invitation: Invitation) -> str:
    # The same whenever it is asked for.
    return reverse("invitation", args=[make_token(INVITATION, invitation.pk, issued=1)])


def text(answer: Any) -> str:
    page: str = answer.content.decode()
    return page


# --- the owner's pages ----------------------------------------------------------------
def test_an_owner_invites_an_editor_for_chosen_newsletters(house: House) -> None:
    client = house.browser("owner")
    form = {"address": "New@Example.org", "role": "editor", "reach": "chosen", "newsletters": house.daily.uid}
    assert client.post(house.at("invite"), form)["Location"] == house.at("members")
    made = Invitation.objects.get(address="new@example.org")
    assert (made.limited, [limit.newsletter for limit in made.limits.all()]) == (True, [house.daily])
    page = text(client.get(house.at("members")))
    assert "new@example.org" in page
    assert "An invitation is on its way" in page


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "nobody"}, "address"),
        ({"address": GUEST.upper()}, "__all__"),
        ({"address": EMIL}, "__all__"),
        ({"role": "king"}, "role"),
        ({"role": "owner", "reach": "chosen", "newsletters": "daily"}, "role"),
        ({"reach": "chosen"}, "newsletters"),
        ({"reach": "chosen", "newsletters": "theirs"}, "newsletters"),
    ],
)
def test_a_refusal_stands_beside_its_field(house: House, change: dict[str, str], field: str) -> None:
    ids = {"daily": house.daily.uid, "theirs": cast.make_newsletter().uid}
    form = {"address": "new@example.org", "role": "editor", "reach": "all"} | change
    form = {name: ids.get(value, value) for name, value in form.items()}
    answer = house.browser("owner").post(house.at("invite"), form)
    assert (answer.status_code, set(answer.context["form"].errors)) == (200, {field})
    assert Invitation.objects.count() == 1


def test_an_invitation_is_mailed_again_and_withdrawn(house: House) -> None:
    client = house.browser("owner")
    assert "less than ten minutes ago" in text(client.post(house.at("invitation-resend"), follow=True))
    Invitation.objects.update(expires_at=Now() + timedelta(days=1))
    AccountMail.objects.update(state="sent")
    assert "on its way" in text(client.post(house.at("invitation-resend"), follow=True))
    assert AccountMail.objects.filter(invitation=house.invitation).count() == 2
    assert "withdrawn" in text(client.post(house.at("invitation-withdraw"), follow=True))
    assert GUEST not in text(client.get(house.at("members")))
    assert Client().get(link(house.invitation)).status_code == 410


# --- the link in the mail -------------------------------------------------------------
def test_opening_the_link_changes_nothing_and_tells_who_invites(house: House) -> None:
    answer = Client().get(link(house.invitation))
    page = text(answer)
    assert answer.status_code == 200
    assert house.publisher.name in page
    assert house.owner.get_full_name() in page
    assert answer["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer["Cache-Control"]
    assert not answer.cookies.get("courant-session")
    assert Invitation.objects.get().accepted_at is None


def test_a_stranger_signs_up_through_the_invitation_and_accepts(house: House, settings: Settings) -> None:
    settings.SIGN_UP = "invitation"
    # A link holds the second in which it was made.
    client, invited = Client(), link(house.invitation)
    answer = client.post(invited, {"sign-up": "yes"})
    assert answer["Location"].startswith(reverse("account_signup") + "?")
    form = {"email": GUEST, "password1": cast.PASSWORD, "next": invited}
    answer = client.post(answer["Location"], form)
    assert answer["Location"] == invited
    assert "Accept" in text(client.get(answer["Location"]))
    assert GUEST not in roles(house.publisher)
    answer = client.post(link(house.invitation))
    assert answer["Location"] == house.at("publisher")
    assert roles(house.publisher)[GUEST] == "editor"
    assert client.get(house.at("publisher")).status_code == 200
    assert client.get(link(house.invitation))["Location"] == house.at("publisher")
    assert client.get("/")["Location"] == reverse("admin:index")


def test_who_has_an_account_logs_in_and_comes_back(house: House) -> None:
    cast.make_user(GUEST)
    client = Client()
    answer = client.post(link(house.invitation), {"log-in": "yes"})
    assert answer["Location"].startswith(reverse("account_login") + "?next=%2Finvitations%2F")
    client.post(reverse("account_login"), {"login": GUEST, "password": cast.PASSWORD})
    # Wherever the log-in led to: the start page leads back.
    assert client.get("/")["Location"].startswith("/invitations/")
    assert client.post(link(house.invitation))["Location"] == house.at("publisher")


def test_nobody_else_accepts_it(house: House) -> None:
    client = sit_down(cast.make_user("other@example.org"))
    assert "Accept" not in text(client.get(link(house.invitation)))
    answer = client.post(link(house.invitation))
    assert answer.status_code == 403
    assert f"for {GUEST}" in text(answer)
    assert not Membership.objects.filter(user__email="other@example.org").exists()


def test_where_sign_up_is_closed_only_the_log_in_is_offered(house: House, settings: Settings) -> None:
    settings.SIGN_UP = "closed"
    page = text(Client().get(link(house.invitation)))
    assert 'name="log-in"' in page
    assert 'name="sign-up"' not in page


def test_a_link_that_is_not_ours_or_is_too_old_leads_nowhere(house: House) -> None:
    foreign = make_token("unsubscribe", house.invitation.pk)
    unknown = make_token(INVITATION, house.invitation.pk + 1)
    for token in ("x", foreign, unknown, link(house.invitation)[-43:-1] + "_"):
        for answer in (Client().get(f"/invitations/{token}"), Client().post(f"/invitations/{token}")):
            assert answer.status_code == 404
    # The row says how long it is good for, not the token.
    old = make_token(INVITATION, house.invitation.pk, issued=int(time.time()) - 30 * 86_400)
    assert Client().get(f"/invitations/{old}").status_code == 200
    Invitation.objects.update(expires_at=Now() - timedelta(seconds=1))
    guest = sit_down(cast.make_user(GUEST))
    for answer in (guest.get(link(house.invitation)), guest.post(link(house.invitation))):
        assert answer.status_code == 410
    assert GUEST not in roles(house.publisher)


def test_an_accepted_invitation_is_of_no_more_use_to_anybody_else(house: House) -> None:
    sit_down(cast.make_user(GUEST)).post(link(house.invitation))
    assert Client().post(link(house.invitation), {"sign-up": "yes"}).status_code == 409
    assert house.browser("nobody").post(link(house.invitation)).status_code == 409


def test_accepting_needs_the_form_of_the_page(house: House) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.make_user(GUEST))
    assert client.post(link(house.invitation)).status_code == 403
    assert GUEST not in roles(house.publisher)


# --- members --------------------------------------------------------------------------
def test_an_owner_limits_a_member_and_frees_them_again(house: House) -> None:
    client = house.browser("owner")
    form = {"role": "editor", "reach": "chosen", "newsletters": [house.daily.uid, house.weekly.uid]}
    assert client.post(house.at("member"), form)["Location"] == house.at("members")
    assert MemberLimit.objects.filter(membership=house.member).count() == 2
    shown = client.get(house.at("member")).context["form"].initial
    assert (shown["reach"], set(shown["newsletters"])) == ("chosen", {house.daily.uid, house.weekly.uid})
    assert client.post(house.at("member"), {"role": "viewer", "reach": "all"}).status_code == 302
    assert not Membership.objects.get(pk=house.member.pk).limited
    answer = client.post(house.at("member"), {"role": "viewer", "reach": "chosen"})
    assert set(answer.context["form"].errors) == {"newsletters"}


def test_a_limited_member_without_newsletters_is_not_freed_unawares(house: House) -> None:
    lena = Membership.objects.get(limited=True)
    for one in (house.weekly, house.daily):
        type(one).objects.filter(pk=one.pk).update(deleted_at=Now())
    page = house.at("member").replace(house.member.uid, lena.uid)
    answer = house.browser("owner").post(page, {"role": "viewer"})
    assert "reach" in answer.context["form"].errors
    assert Membership.objects.get(pk=lena.pk).limited


def test_an_owner_hands_ownership_on(house: House) -> None:
    client = house.browser("owner", fresh=True)
    assert client.post(house.at("member-transfer"))["Location"] == house.at("publisher")
    assert roles(house.publisher)[EMIL] == "owner"
    assert client.get(house.at("members")).status_code == 403


def test_the_page_that_removes_names_the_keys_that_stay(house: House) -> None:
    client = house.browser("owner")
    assert "API keys that this person made" not in text(client.get(house.at("member-remove")))
    house.key.created_by = house.member.user
    house.key.save()
    assert house.key.name in text(client.get(house.at("member-remove")))
    client.post(house.at("member-remove"))
    assert "Not a member" in text(client.get(house.at("keys")))
    assert not User.objects.get(email=EMIL).is_staff


def test_the_last_owner_is_not_removed_from_the_page_either(house: House) -> None:
    only = Membership.objects.get(user=house.owner)
    page = house.at("member-remove").replace(house.member.uid, only.uid)
    assert "at least one active owner" in text(house.browser("superuser").post(page, follow=True))
    assert roles(house.publisher)[house.owner.email] == "owner"


def test_an_owner_who_steps_down_or_goes_is_led_to_a_page_that_they_may_open(house: House) -> None:
    client, mine = house.browser("owner"), Membership.objects.get(user=house.owner)
    client.post(house.at("member"), {"role": "owner", "reach": "all"})
    page = house.at("member").replace(house.member.uid, mine.uid)
    answer = client.post(page, {"role": "viewer", "reach": "all"}, follow=True)
    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, house.at("publisher"))
    assert roles(house.publisher)[house.owner.email] == "viewer"
    Membership.objects.filter(pk=mine.pk).update(role=Role.OWNER)
    page = house.at("member-remove").replace(house.member.uid, mine.uid)
    answer = client.post(page, follow=True)
    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, reverse("publishers"))
    assert house.owner.email not in roles(house.publisher)


def test_nobody_keeps_somebody_invited_out_by_asking_to_change_to_their_address(house: House, open_doors: None) -> None:
    other = cast.make_user("mallory@example.org")
    EmailAddress.objects.create(user=other, email=GUEST)
    client = Client()
    client.post(link(house.invitation), {"sign-up": ""})
    sign_up(client, GUEST)
    assert User.objects.filter(email=GUEST).exists()
    assert client.post(link(house.invitation)).status_code == 302
    assert roles(house.publisher)[GUEST] == Role.EDITOR
    assert EmailAddress.objects.get(user=other).email == other.email
