"""Who sees and changes what in the admin."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django_dramatiq.models import Task

from accounts.models import AuditEntry, Publisher, User
from newsletters.models import (
    Delivery,
    DeliveryState,
    Destination,
    Import,
    Notice,
    NoticeKind,
    Suppression,
    SuppressionReason,
)
from tests import cast
from tests.admin.desks import Desk, sit_down

LISTS = (
    "accounts_publisher",
    "newsletters_delivery",
    "newsletters_destination",
    "newsletters_import",
    "newsletters_issue",
    "newsletters_newsletter",
    "newsletters_notice",
    "newsletters_senderidentity",
    "newsletters_subscriber",
    "newsletters_suppression",
)


def furnish(desk: Desk) -> dict[str, int]:
    """Give the desk one row of each kind; return their numbers by the list's name."""
    reader = cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    delivery = Delivery.objects.create(issue=issue, subscription=reader, state=DeliveryState.QUEUED)
    notice = Notice.objects.create(kind=NoticeKind.PROOF, to_address=cast.BORIS, issue=issue)
    suppression = Suppression.objects.create(
        publisher=desk.publisher, address_digest=bytes(32), reason=SuppressionReason.MANUAL
    )
    imported = Import.objects.create(newsletter=desk.newsletter, consent_source="a list")
    destination = Destination.objects.create(publisher=desk.publisher, domain="example.net")
    return {
        "accounts_publisher": desk.publisher.pk,
        "newsletters_delivery": delivery.pk,
        "newsletters_destination": destination.pk,
        "newsletters_import": imported.pk,
        "newsletters_issue": issue.pk,
        "newsletters_newsletter": desk.newsletter.pk,
        "newsletters_notice": notice.pk,
        "newsletters_senderidentity": desk.newsletter.sender_id,
        "newsletters_subscriber": reader.subscriber_id,
        "newsletters_suppression": suppression.pk,
    }


@pytest.mark.parametrize("name", LISTS)
def test_a_member_opens_each_list_and_each_row_of_their_publisher(desk: Desk, name: str) -> None:
    rows = furnish(desk)
    listed = desk.client.get(reverse(f"admin:{name}_changelist"))
    assert listed.status_code == 200
    address = reverse(f"admin:{name}_change", args=[rows[name]])
    assert address in listed.content.decode()
    assert desk.client.get(address).status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_rows_of_another_publisher_are_neither_listed_nor_opened(desk: Desk, other_desk: Desk, name: str) -> None:
    foreign = furnish(other_desk)
    address = reverse(f"admin:{name}_change", args=[foreign[name]])
    assert address not in desk.client.get(reverse(f"admin:{name}_changelist")).content.decode()
    # Django sends people back to the index when a row is not in their queryset.
    assert desk.client.get(address).status_code == 302
    assert other_desk.client.get(address).status_code == 200


@pytest.mark.parametrize("name", LISTS)
def test_a_superuser_sees_the_rows_of_all_publishers(
    desk: Desk, other_desk: Desk, superuser_client: Client, name: str
) -> None:
    addresses = [reverse(f"admin:{name}_change", args=[furnish(one)[name]]) for one in (desk, other_desk)]
    page = superuser_client.get(reverse(f"admin:{name}_changelist")).content.decode()
    assert all(address in page for address in addresses)


def test_a_viewer_reads_and_can_neither_add_nor_act(viewer_desk: Desk) -> None:
    rows = furnish(viewer_desk)
    for name in LISTS:
        assert viewer_desk.client.get(reverse(f"admin:{name}_change", args=[rows[name]])).status_code == 200
        assert viewer_desk.client.get(reverse(f"admin:{name}_add")).status_code == 403
    viewer_desk.client.post(
        reverse("admin:newsletters_newsletter_changelist"),
        {"action": "delete_newsletter", "_selected_action": viewer_desk.newsletter.pk, "confirmed": "yes"},
    )
    viewer_desk.newsletter.refresh_from_db()
    assert viewer_desk.newsletter.deleted_at is None


def test_the_choices_of_a_form_are_those_of_the_members_publishers(desk: Desk, other_desk: Desk) -> None:
    page = desk.client.get(reverse("admin:newsletters_issue_add")).content.decode()
    assert desk.newsletter.name in page
    assert other_desk.newsletter.name not in page


def test_staff_without_a_membership_sees_nothing(db: None) -> None:
    client = sit_down(cast.make_user("alone@example.org", is_staff=True))
    assert client.get(reverse("admin:index")).status_code == 200
    assert client.get(reverse("admin:newsletters_newsletter_changelist")).status_code == 403


def test_members_do_not_see_the_list_of_users(desk: Desk) -> None:
    assert desk.client.get(reverse("admin:accounts_user_changelist")).status_code == 403


def test_a_superuser_adds_a_user_by_e_mail_address(superuser_client: Client) -> None:
    form = {"email": "new@example.org", "usable_password": "true"}
    form |= {"password1": cast.PASSWORD, "password2": cast.PASSWORD}
    form |= {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    superuser_client.post(reverse("admin:accounts_user_add"), form)
    added = User.objects.get(email="new@example.org")
    assert added.check_password(cast.PASSWORD)
    assert superuser_client.get(reverse("admin:accounts_user_change", args=[added.pk])).status_code == 200


def test_the_task_page_of_the_queue_is_not_in_the_admin() -> None:
    assert not admin.site.is_registered(Task)
    assert not admin.site.is_registered(Group)


def test_a_stranger_is_sent_to_the_log_in_page(db: None) -> None:
    answer = Client().get(reverse("admin:newsletters_issue_changelist"))
    assert answer.status_code == 302
    assert "login" in answer["Location"]


def test_what_a_superuser_does_to_publishers_is_written_down(desk: Desk, superuser_client: Client) -> None:
    form = {"name": "The Planet", "time_zone": "Europe/Berlin"}
    superuser_client.post(reverse("admin:accounts_publisher_add"), form)
    made = Publisher.objects.get(name="The Planet")
    page = reverse("admin:accounts_publisher_change", args=[desk.publisher.pk])
    assert superuser_client.post(page, form | {"name": "The Post"}).status_code == 302
    assert list(AuditEntry.objects.order_by("pk").values_list("action", "publisher")) == [
        ("publisher.created", made.pk),
        ("publisher.changed", desk.publisher.pk),
    ]
    answer = superuser_client.post(page, form | {"time_zone": "Mars/Base"})
    assert set(answer.context["adminform"].form.errors) == {"time_zone"}
    shown = superuser_client.get(page).content.decode()
    assert reverse("members", args=[desk.publisher.uid]) in shown
    assert reverse("members", args=[desk.publisher.uid]) in desk.client.get(page).content.decode()
