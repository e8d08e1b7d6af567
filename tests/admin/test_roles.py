"""What each kind of member does with each model of the admin: one table, and no model without a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts import audit
from accounts.models import AccountMail, AuditEntry, Membership, Publisher, Role
from newsletters.models import (
    Delivery,
    DeliveryState,
    Destination,
    Import,
    Newsletter,
    Notice,
    NoticeKind,
    Subscriber,
    Subscription,
    Suppression,
    SuppressionReason,
)
from tests import cast
from tests.accounts.gazette import EMIL, OLGA, VERA, member, person
from tests.admin.desks import sit_down

pytestmark = pytest.mark.django_db
# l: lists rows, r: opens a row, a: may add, c: may change, s: is offered steps. A limited member with the rows of the
# newsletter that they are limited to; with those of another they may nothing at all.
EVERYTHING, NOTHING = "lracs", ""
MODELS: dict[str, dict[str, str]] = {
    "accounts_auditentry": {"owner": "lr", "editor": NOTHING, "viewer": NOTHING, "limited": NOTHING},
    "accounts_publisher": {"owner": "lr", "editor": "lr", "viewer": "lr", "limited": NOTHING},
    "newsletters_delivery": {"owner": "lrs", "editor": "lrs", "viewer": "lr", "limited": "lrs"},
    "newsletters_destination": {"owner": EVERYTHING, "editor": EVERYTHING, "viewer": "lr", "limited": NOTHING},
    "newsletters_import": {"owner": "lra", "editor": "lra", "viewer": "lr", "limited": "lra"},
    "newsletters_issue": {"owner": EVERYTHING, "editor": EVERYTHING, "viewer": "lr", "limited": EVERYTHING},
    "newsletters_newsletter": {"owner": EVERYTHING, "editor": EVERYTHING, "viewer": "lr", "limited": "lrcs"},
    "newsletters_notice": {"owner": "lr", "editor": "lr", "viewer": "lr", "limited": "lr"},
    "newsletters_senderidentity": {"owner": EVERYTHING, "editor": EVERYTHING, "viewer": "lr", "limited": "lr"},
    "newsletters_subscriber": {"owner": EVERYTHING, "editor": EVERYTHING, "viewer": "lr", "limited": "lras"},
    "newsletters_suppression": {"owner": "lra", "editor": "lra", "viewer": "lr", "limited": NOTHING},
    # The operator's.
    "accounts_user": {"owner": NOTHING, "editor": NOTHING, "viewer": NOTHING, "limited": NOTHING},
    "accounts_accountmail": {"owner": NOTHING, "editor": NOTHING, "viewer": NOTHING, "limited": NOTHING},
}
OPERATORS = {name for name, row in MODELS.items() if set(row.values()) == {NOTHING}}
WHO = ("owner", "editor", "viewer", "limited")


@dataclass
class Paper:
    """A publisher with two newsletters and a row of each model for either, and its people's browsers."""

    publisher: Publisher
    weekly: dict[str, int]
    daily: dict[str, int]
    browsers: dict[str, Client]


def furnish(newsletter: Newsletter, address: str, sender: str) -> dict[str, int]:
    """Make a row of each model that belongs to the newsletter or is used by it; return their numbers."""
    publisher = newsletter.publisher
    newsletter.sender = cast.make_sender(publisher, address=sender, verified=False)
    newsletter.save()
    reader = cast.make_reader(newsletter, address=address)
    issue = cast.make_issue(newsletter)
    delivery = Delivery.objects.create(issue=issue, subscription=reader, state=DeliveryState.HELD)
    user = cast.make_user(f"of-{sender}")
    audit.record("x", actor=audit.SYSTEM, publisher_id=publisher.pk, object_type="x", object_id=sender)
    return {
        "accounts_auditentry": AuditEntry.objects.get(object_id=sender).pk,
        "accounts_publisher": publisher.pk,
        "newsletters_delivery": delivery.pk,
        "newsletters_destination": Destination.objects.create(publisher=publisher, domain=sender.replace("@", ".")).pk,
        "newsletters_import": Import.objects.create(newsletter=newsletter, consent_source="a list").pk,
        "newsletters_issue": issue.pk,
        "newsletters_newsletter": newsletter.pk,
        "newsletters_notice": Notice.objects.create(kind=NoticeKind.PROOF, to_address=cast.BORIS, issue=issue).pk,
        "newsletters_senderidentity": newsletter.sender_id,
        "newsletters_subscriber": reader.subscriber_id,
        "newsletters_suppression": Suppression.objects.create(
            publisher=publisher, address_digest=sender.encode().ljust(32)[:32], reason=SuppressionReason.MANUAL
        ).pk,
        "accounts_user": user.pk,
        "accounts_accountmail": AccountMail.objects.create(kind="reset_password", to_address=user.email, user=user).pk,
    }


@pytest.fixture
def paper(db: None) -> Paper:
    publisher = cast.make_publisher()
    weekly, daily = (cast.make_newsletter(publisher, name=name) for name in ("Weekly", "Daily"))
    people = {
        "owner": person(publisher, OLGA),
        "editor": person(publisher, EMIL, Role.EDITOR),
        "viewer": person(publisher, VERA, Role.VIEWER),
        "limited": member(publisher, "lena@gazette.example", Role.EDITOR, weekly).user,
        "rival": person(cast.make_publisher("The Rival"), "owner@rival.example"),
        "nobody": cast.make_user("nobody@example.org", is_staff=True),
        "superuser": cast.make_user("root@example.org", is_staff=True, is_superuser=True),
    }
    return Paper(
        publisher,
        furnish(weekly, cast.ADA, "weekly@gazette.example"),
        furnish(daily, cast.BORIS, "daily@gazette.example"),
        {who: sit_down(user) for who, user in people.items()},
    )


def found(client: Client, name: str, pk: int) -> str:
    """Return what somebody may do with a row, as the letters above."""
    listed, row = reverse(f"admin:{name}_changelist"), reverse(f"admin:{name}_change", args=[pk])
    letters = ""
    answer = client.get(listed)
    if answer.status_code == 200 and row in answer.content.decode():
        letters += "l"
    page = client.get(row)
    letters += "r" if page.status_code == 200 else ""
    letters += "a" if client.get(reverse(f"admin:{name}_add")).status_code == 200 else ""
    if page.status_code == 200:
        letters += "c" if page.context["has_change_permission"] else ""
        letters += "s" if page.context.get("steps") else ""
    return letters


def test_every_model_has_a_row() -> None:
    # What the addresses leave out is gone once they are read.
    assert reverse("admin:index")
    registered = {f"{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry}
    assert registered == MODELS.keys()


@pytest.mark.parametrize("who", WHO)
def test_each_member_may_what_the_table_says(paper: Paper, who: str) -> None:
    client = paper.browsers[who]
    assert {name: found(client, name, paper.weekly[name]) for name in MODELS} == {
        name: row[who] for name, row in MODELS.items()
    }


def test_a_limited_member_finds_nothing_of_another_newsletter(paper: Paper) -> None:
    client = paper.browsers["limited"]
    letters = {name: found(client, name, paper.daily[name]) for name in MODELS}
    # To add something to their own newsletter they need no row of the other.
    assert {name: given for name, given in letters.items() if given.replace("a", "")} == {}
    before = [list(model.objects.order_by("pk").values()) for model in (Newsletter, Subscription, Subscriber, Delivery)]
    for name in MODELS.keys() - OPERATORS:
        row = reverse(f"admin:{name}_change", args=[paper.daily[name]])
        assert client.post(row, {"name": "Mine", "subject": "Mine"}).status_code in {302, 403}, name
        page = admin.site.get_model_admin(
            next(m for m in admin.site._registry if f"{m._meta.app_label}_{m._meta.model_name}" == name)
        )
        for step in getattr(page, "steps", ()):
            form = {"action": step.name, "_selected_action": paper.daily[name], "confirmed": "yes"}
            client.post(reverse(f"admin:{name}_changelist"), form)
    after = [list(model.objects.order_by("pk").values()) for model in (Newsletter, Subscription, Subscriber, Delivery)]
    assert after == before


@pytest.mark.parametrize("who", ["rival", "nobody"])
def test_others_find_nothing(paper: Paper, who: str) -> None:
    letters = {name: found(paper.browsers[who], name, paper.weekly[name]) for name in MODELS}
    assert {name: given for name, given in letters.items() if given.replace("a", "")} == {}


def test_the_operator_finds_everything(paper: Paper) -> None:
    for name in MODELS:
        assert {"l", "r"} <= set(found(paper.browsers["superuser"], name, paper.weekly[name])), name


def test_who_belongs_to_two_publishers_sees_the_rows_of_the_current_one(paper: Paper) -> None:
    rival = Publisher.objects.get(name="The Rival")
    other = cast.make_newsletter(rival, name="The Rival's")
    Membership.objects.create(user=Membership.objects.get(user__email=OLGA).user, publisher=rival, role=Role.VIEWER)
    client, name = paper.browsers["owner"], "newsletters_newsletter"
    assert (found(client, name, paper.weekly[name]), found(client, name, other.pk)) == (EVERYTHING, "a")
    page = client.get(reverse("admin:index")).content.decode()
    assert "switch-publisher" in page
    answer = client.post(reverse("publisher-switch"), {"publisher": rival.uid, "next": reverse("admin:index")})
    assert answer["Location"] == reverse("admin:index")
    assert (found(client, name, paper.weekly[name]), found(client, name, other.pk)) == ("", "lr")


# --- what a limited member sees of things that newsletters share ------------------------
def seen(client: Client, name: str, **query: Any) -> str:
    return str(client.get(reverse(f"admin:{name}"), query).content.decode())


def test_a_reader_of_two_newsletters_shows_a_limited_member_only_theirs(paper: Paper) -> None:
    reader = Subscriber.objects.get(address=cast.ADA)
    daily = Newsletter.objects.get(pk=paper.daily["newsletters_newsletter"])
    elsewhere = Subscription.objects.create(subscriber=reader, newsletter=daily, state="active")
    client = paper.browsers["limited"]
    page = reverse("admin:newsletters_subscriber_change", args=[reader.pk])
    for shown in (client.get(page).content.decode(), seen(client, "newsletters_subscriber_changelist")):
        assert "Weekly" in shown
        assert "Daily" not in shown
    assert "Daily" in paper.browsers["editor"].get(page).content.decode()
    # Nor do they find out by a filter.
    assert cast.ADA not in seen(client, "newsletters_subscriber_changelist", newsletter=daily.pk)
    listed = reverse("admin:newsletters_subscriber_changelist")
    client.post(listed, {"action": "erase", "_selected_action": reader.pk, "confirmed": "yes"})
    client.post(listed, {"action": "unsubscribe", "_selected_action": reader.pk, "confirmed": "yes"})
    elsewhere.refresh_from_db()
    assert elsewhere.state == "active"
    assert set(reader.subscriptions.values_list("newsletter__name", "state")) == {
        ("Weekly", "unsubscribed"),
        ("Daily", "active"),
    }


def test_a_limited_member_writes_only_for_their_newsletters(paper: Paper) -> None:
    client = paper.browsers["limited"]
    for name in ("newsletters_issue_add", "newsletters_import_add", "newsletters_subscriber_add"):
        page = seen(client, name)
        assert "Weekly" in page
        assert "Daily" not in page
    form = {"subject": "Mine", "body": "x", "body_format": "markdown"}
    for newsletter, made in (("daily", False), ("weekly", True)):
        own = getattr(paper, newsletter)["newsletters_newsletter"]
        client.post(reverse("admin:newsletters_issue_add"), form | {"newsletter": own, "subject": newsletter})
        assert Newsletter.objects.get(pk=own).issues.filter(subject=newsletter).exists() == made


def test_a_limited_member_changes_a_newsletter_but_not_its_sender(paper: Paper) -> None:
    client, pk = paper.browsers["limited"], paper.weekly["newsletters_newsletter"]
    before = Newsletter.objects.get(pk=pk)
    form = {"name": "The New Weekly", "slug": before.slug, "postal_address": before.postal_address}
    form |= {"opt_in": "double", "on_uncertain": "resend", "from_address": "mine@gazette.example"}
    assert client.post(reverse("admin:newsletters_newsletter_change", args=[pk]), form).status_code == 302
    after = Newsletter.objects.get(pk=pk)
    assert (after.name, after.sender_id) == ("The New Weekly", before.sender_id)


def test_a_limited_viewer_reads_and_does_nothing(paper: Paper) -> None:
    Membership.objects.filter(limited=True).update(role=Role.VIEWER)
    client = paper.browsers["limited"]
    for name in MODELS:
        expected = "lr" if "l" in MODELS[name]["limited"] else ""
        assert found(client, name, paper.weekly[name]) == expected, name
        assert found(client, name, paper.daily[name]) == "", name
