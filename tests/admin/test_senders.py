"""The limits of senders in the admin."""

from __future__ import annotations

import pytest
from django.urls import reverse

from newsletters.delivery.rates import SenderLimits, limits
from newsletters.models import SenderIdentity
from tests import cast
from tests.admin.desks import Desk, make_desk

LIST = "admin:newsletters_senderidentity_changelist"


def page_of(desk: Desk) -> str:
    return reverse("admin:newsletters_senderidentity_change", args=[desk.newsletter.sender_id])


@pytest.mark.django_db
@pytest.mark.parametrize("role", ["owner", "editor"])
def test_an_editor_limits_a_sender_and_the_list_shows_it(role: str) -> None:
    desk = make_desk(role)  # type: ignore[arg-type]  # a choice's value
    assert desk.client.post(page_of(desk), {"max_rate": "13.5", "max_connections": "77"}).status_code == 302
    assert limits(desk.newsletter.sender_id) == SenderLimits(13.5, 77)
    listed = desk.client.get(reverse(LIST)).content.decode()
    assert "13.5" in listed
    assert "77" in listed
    assert "within a second while an issue is being sent" in desk.client.get(page_of(desk)).content.decode()
    assert desk.client.post(page_of(desk), {"max_rate": "", "max_connections": "77"}).status_code == 302
    assert limits(desk.newsletter.sender_id) == SenderLimits(None, 77)


@pytest.mark.parametrize(
    ("name", "value"), [("max_rate", "0"), ("max_rate", "nan"), ("max_rate", "1e9"), ("max_connections", "1001")]
)
def test_a_limit_that_means_nothing_is_an_error_beside_the_field(desk: Desk, name: str, value: str) -> None:
    answer = desk.client.post(page_of(desk), {name: value})
    assert set(answer.context["adminform"].form.errors) == {name}
    assert limits(desk.newsletter.sender_id) == SenderLimits(None, None)


def test_the_address_of_a_sender_cannot_be_edited(desk: Desk) -> None:
    before = SenderIdentity.objects.get()
    form = {"address": "new@gazette.example", "verified_at": "", "max_rate": "1"}
    assert desk.client.post(page_of(desk), form).status_code == 302
    after = SenderIdentity.objects.get()
    assert (after.address, after.verified_at) == (before.address, before.verified_at)


def test_a_new_sender_can_be_limited_from_the_start(desk: Desk) -> None:
    form = {"publisher": desk.publisher.pk, "address": cast.ADA, "max_rate": "2", "max_connections": "1"}
    assert desk.client.post(reverse("admin:newsletters_senderidentity_add"), form).status_code == 302
    assert limits(SenderIdentity.objects.get(address=cast.ADA).pk) == SenderLimits(2.0, 1)


def test_neither_a_viewer_nor_another_publisher_limits_a_sender(desk: Desk, other_desk: Desk) -> None:
    viewer = make_desk("viewer", name="The Reader", email="viewer@reader.example")  # type: ignore[arg-type]  # as above
    assert viewer.client.post(page_of(viewer), {"max_rate": "1"}).status_code == 403
    other_desk.client.post(page_of(desk), {"max_rate": "1"})
    assert not SenderIdentity.objects.filter(max_rate__isnull=False).exists()
