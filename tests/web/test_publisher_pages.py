"""Who opens which page of a publisher: one table, and no page without a row."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import AuditEntry, Membership, Publisher, Role
from accounts.web import urls as own_pages
from newsletters.web import desk
from tests import cast
from tests.accounts.gazette import EMIL, OLGA, person, roles
from tests.web.people import WHO, House, sit_down

pytestmark = pytest.mark.django_db
OWNERS = "owner superuser"
MEMBERS = "owner editor viewer limited superuser"
# Who opens the page; who may POST, where that does something; what everybody else of the publisher gets.
PAGES: dict[str, tuple[str, str]] = {
    "publisher": (MEMBERS, OWNERS),
    # Superusers who are no members have nothing to leave: 404.
    "publisher-leave": ("owner editor viewer limited", "owner editor viewer limited"),
    "members": (OWNERS, ""),
    "member": (OWNERS, OWNERS),
    "member-remove": (OWNERS, OWNERS),
    "member-transfer": (OWNERS, OWNERS),
    "invite": (OWNERS, OWNERS),
    "invitation-resend": ("", OWNERS),
    "invitation-withdraw": ("", OWNERS),
    "keys": (OWNERS, ""),
    "key-new": (OWNERS, OWNERS),
    "key-revoke": (OWNERS, OWNERS),
}
# Pages of no publisher, each with tests of its own below or in test_invitation_page.
OTHERS = {"home", "publishers", "publisher-new", "publisher-switch", "invitation"}
FRESH = {"member-transfer", "key-new"}
OUTSIDERS = {"rival": 404, "nobody": 404, "stranger": 302}


@pytest.fixture
def house(db: None) -> House:
    return House()


def test_every_page_has_a_row() -> None:
    patterns = [*own_pages.urlpatterns, *desk.urlpatterns]
    assert {pattern.name for pattern in patterns} == PAGES.keys() | OTHERS


def expected(who: str, allowed: str, *, other: str) -> int | None:
    """Return the status that refuses, None where the page answers."""
    if not allowed and who != "stranger":
        # The method is not one of the page's for anybody.
        return 405
    if who in OUTSIDERS:
        return OUTSIDERS[who]
    if who in allowed.split():
        return None
    return 404 if other == "publisher-leave" else 403


@pytest.mark.parametrize("who", WHO)
def test_a_page_opens_for_whom_it_is_meant(house: House, who: str) -> None:
    client = house.browser(who, fresh=who != "stranger")
    answers = {name: client.get(house.at(name)) for name in PAGES}
    refusals = {name: expected(who, PAGES[name][0], other=name) for name in PAGES}
    assert {name: answer.status_code for name, answer in answers.items()} == {
        name: refused or 200 for name, refused in refusals.items()
    }
    for name, answer in answers.items():
        if who == "stranger":
            assert answer["Location"].startswith(reverse("account_login")), name
        if refusals[name] is None:
            page = answer.content.decode()
            assert "no-store" in answer["Cache-Control"], name
            assert re.findall(r"<h1[^>]*>", page) == ["<h1>"], name
            assert not re.search(r" style=|<script|<style", page), name


@pytest.mark.parametrize("who", [who for who in WHO if who not in OWNERS])
def test_nobody_else_changes_anything(house: House, who: str) -> None:
    before = (roles(house.publisher), AuditEntry.objects.count(), Publisher.objects.get(pk=house.publisher.pk).name)
    form = {"name": "Mine", "time_zone": "UTC", "role": "owner", "reach": "all", "address": "x@example.org"}
    form |= {"scopes": "issues:read", "expires": "30"}
    client = house.browser(who, fresh=who != "stranger")
    tried = {name: posts for name, (_, posts) in PAGES.items() if posts and who not in posts.split()}
    answers = {name: client.post(house.at(name), form).status_code for name in tried}
    assert answers == {name: expected(who, posts, other=name) for name, posts in tried.items()}
    after = (roles(house.publisher), AuditEntry.objects.count(), Publisher.objects.get(pk=house.publisher.pk).name)
    assert after == before


def test_a_form_from_another_site_changes_nothing(house: House) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.owner)
    before = AuditEntry.objects.count()
    form = {"name": "Mine", "time_zone": "UTC", "publisher": house.publisher.uid}
    addresses = [house.at(name) for name, (_, posts) in PAGES.items() if posts]
    addresses += [reverse("publisher-new"), reverse("publisher-switch")]
    assert {client.post(address, form).status_code for address in addresses} == {403}
    assert AuditEntry.objects.count() == before


def test_things_of_another_publisher_do_not_exist_in_ones_own(house: House) -> None:
    other = house.people["rival"]
    assert other is not None
    own = Membership.objects.get(user=other).publisher
    client = sit_down(other, fresh=True)
    for name in (name for name in PAGES if name.startswith(("member-", "invitation-", "key-revoke"))):
        foreign = house.at(name).replace(house.publisher.uid, own.uid)
        malformed = re.sub(r"/(mem|inv|key)_[^/]+", "/nothing", foreign)
        for address in (foreign, malformed):
            assert {client.get(address).status_code, client.post(address).status_code} <= {404, 405}, address
            assert client.post(address).status_code == 404, address


def test_making_a_key_and_handing_ownership_on_ask_once_more_who_it_is(house: House) -> None:
    client = house.browser("owner")
    for name in FRESH:
        for answer in (client.get(house.at(name)), client.post(house.at(name), {})):
            assert answer.status_code == 302
            assert answer["Location"].startswith(reverse("account_reauthenticate"))
    assert roles(house.publisher)[OLGA] == "owner"


def test_a_removed_member_loses_access_in_the_sessions_that_are_open(house: House) -> None:
    client, staff = house.browser("editor"), reverse("admin:newsletters_issue_changelist")
    assert client.get(staff).status_code == client.get(house.at("publisher")).status_code == 200
    answer = house.browser("owner").post(house.at("member-remove"))
    assert answer["Location"] == house.at("members")
    assert client.get(house.at("publisher")).status_code == 404
    assert client.get(staff).status_code in {302, 403}
    assert EMIL not in roles(house.publisher)


# --- pages of no publisher ------------------------------------------------------------
def test_who_belongs_nowhere_is_led_to_found_a_publisher_where_sign_up_is_open(settings: Settings) -> None:
    settings.SIGN_UP = "open"
    client = sit_down(cast.make_user(OLGA))
    answer = client.get("/", follow=True)
    assert answer.redirect_chain[-1][0] == reverse("publisher-new")
    answer = client.post(reverse("publisher-new"), {"name": "The Planet", "time_zone": "Europe/Berlin"})
    planet = Publisher.objects.get()
    assert answer["Location"] == reverse("publisher", args=[planet.uid])
    assert roles(planet) == {OLGA: "owner"}
    assert client.get("/")["Location"] == reverse("admin:index")
    assert client.get(reverse("admin:index")).status_code == 200


def test_elsewhere_they_learn_that_they_need_an_invitation(settings: Settings) -> None:
    settings.SIGN_UP = "invitation"
    client = sit_down(cast.make_user(OLGA))
    answer = client.get("/", follow=True)
    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, reverse("publishers"))
    assert "You need an invitation" in answer.content.decode()
    for refused in (client.get(reverse("publisher-new")), client.post(reverse("publisher-new"), {"name": "x"})):
        assert refused.status_code == 403
    assert not Publisher.objects.exists()
    root = sit_down(cast.make_user("root@example.org", is_superuser=True, is_staff=True))
    assert root.get("/", follow=True).redirect_chain[-1][0] == reverse("publisher-new")
    assert Client().get("/")["Location"].startswith(reverse("account_login"))


def test_an_owner_renames_a_publisher_and_sees_errors_beside_the_fields(house: House) -> None:
    client = house.browser("owner")
    answer = client.post(house.at("publisher"), {"name": "\u200b", "time_zone": "UTC"})
    assert set(answer.context["form"].errors) == {"name"}
    assert 'aria-invalid="true"' in answer.content.decode()
    assert client.post(house.at("publisher"), {"name": "The Planet", "time_zone": "Europe/Berlin"}).status_code == 302
    changed = Publisher.objects.get(pk=house.publisher.pk)
    assert (changed.name, changed.time_zone) == ("The Planet", "Europe/Berlin")


def test_who_leaves_is_led_to_another_publisher_and_the_last_owner_stays(house: House) -> None:
    client = house.browser("viewer")
    assert client.post(house.at("publisher-leave"))["Location"] == reverse("publishers")
    assert client.get(house.at("publisher")).status_code == 404
    owner = house.browser("owner")
    answer = owner.post(house.at("publisher-leave"), follow=True)
    assert "at least one active owner" in answer.content.decode()
    assert roles(house.publisher)[OLGA] == "owner"


def test_somebody_of_two_publishers_switches_between_them(house: House) -> None:
    rival = Publisher.objects.get(name="The Rival")
    client = house.browser("owner")
    assert "switch-publisher" not in client.get(house.at("publisher")).content.decode()
    Membership.objects.create(user=house.owner, publisher=rival, role=Role.VIEWER)
    assert client.get(reverse("publishers"))["Location"] == house.at("publisher")
    assert "switch-publisher" in client.get(house.at("publisher")).content.decode()
    answer = client.post(reverse("publisher-switch"), {"publisher": rival.uid})
    assert answer["Location"] == client.get(reverse("publishers"))["Location"] == reverse("publisher", args=[rival.uid])
    for wrong in (cast.make_publisher("A third").uid, "", "pub_x", str(rival.pk)):
        assert client.post(reverse("publisher-switch"), {"publisher": wrong}).status_code == 404
    assert client.get(reverse("publisher-switch")).status_code == 405
    for where, leads in (("/admin/", "/admin/"), ("//evil.example/", None), ("https://evil.example/", None)):
        answer = client.post(reverse("publisher-switch"), {"publisher": rival.uid, "next": where})
        assert answer["Location"] == (leads or reverse("publisher", args=[rival.uid]))


def test_a_publisher_left_behind_is_no_longer_the_current_one(house: House) -> None:
    rival = Publisher.objects.get(name="The Rival")
    gone = Membership.objects.create(user=house.owner, publisher=rival, role=Role.VIEWER)
    client = house.browser("owner")
    client.post(reverse("publisher-switch"), {"publisher": rival.uid})
    gone.delete()
    assert client.get(reverse("publishers"))["Location"] == house.at("publisher")


def test_an_inactive_person_is_nobody(house: House) -> None:
    otto = person(house.publisher, "otto@gazette.example")
    client = sit_down(otto)
    assert client.get(house.at("members")).status_code == 200
    type(otto).objects.filter(pk=otto.pk).update(is_active=False)
    assert client.get(house.at("members")).status_code == 302
