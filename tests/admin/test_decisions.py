"""Held deliveries are decided in the admin by owners and editors, after a question."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry
from newsletters.models import Delivery, Issue
from tests import cast
from tests.admin.desks import Desk, make_desk
from tests.delivery.acts import send

pytestmark = pytest.mark.django_db
LIST = "admin:newsletters_delivery_changelist"


def make_held(desk: Desk) -> Issue:
    cast.make_reader(desk.newsletter)
    issue = send(desk.newsletter)
    Delivery.objects.filter(issue=issue).update(state="held", reason="uncertain", uncertain=True)
    return issue


def decide(desk: Desk, action: str, *, confirmed: bool = True) -> Any:
    rows = list(Delivery.objects.values_list("pk", flat=True))
    form = {"action": action, "_selected_action": rows} | ({"confirmed": "yes"} if confirmed else {})
    return desk.client.post(reverse(LIST), form)


@pytest.mark.parametrize("role", ["owner", "editor"])
@pytest.mark.parametrize(("action", "state"), [("resend", "queued"), ("accept", "sent"), ("drop", "cancelled")])
def test_a_decision_is_asked_for_carried_out_and_written_down(role: Any, action: str, state: str) -> None:
    desk = make_desk(role)
    make_held(desk)
    assert cast.ADA in decide(desk, action, confirmed=False).content.decode()
    assert Delivery.objects.get().state == "held"
    decide(desk, action)
    assert Delivery.objects.get().state == state
    entry = AuditEntry.objects.get()
    assert (entry.actor_kind, entry.actor, entry.ip_address) == ("user", desk.user.email, "127.0.0.1")


def test_neither_a_viewer_nor_another_publisher_decides(viewer_desk: Desk, other_desk: Desk) -> None:
    make_held(viewer_desk)
    for desk in (viewer_desk, other_desk):
        decide(desk, "drop")
    assert Delivery.objects.get().state == "held"
    page = reverse("admin:newsletters_delivery_change", args=[Delivery.objects.get().pk])
    assert "Resend…" not in viewer_desk.client.get(page).content.decode()


def test_the_list_does_not_read_an_issues_text_for_each_row(desk: Desk) -> None:
    cast.make_reader(desk.newsletter, address=cast.BORIS)
    make_held(desk)
    with CaptureQueriesContext(connection) as queries:
        assert cast.BORIS in desk.client.get(reverse(LIST)).content.decode()
    assert not any('"newsletters_issue"."body"' in query["sql"] for query in queries)


def test_the_pages_lead_to_what_is_held(desk: Desk) -> None:
    issue = make_held(desk)
    page = desk.client.get(reverse("admin:newsletters_issue_change", args=[issue.pk])).content.decode()
    assert "1 held: decide" in page
    assert "1 uncertain" in page
    # Uncertain rows may be in any state.
    assert "1 = 1 held; 1 of the 1 uncertain" in page
    for needs in ("needs=decision", "uncertain__exact=1"):
        assert f"?issue={issue.pk}&amp;{needs}" in page
        listed = f"{reverse(LIST)}?issue={issue.pk}&{needs}"
        assert cast.ADA in desk.client.get(listed).content.decode()
        Delivery.objects.filter(issue=issue).update(state="sent", uncertain=False)
        assert cast.ADA not in desk.client.get(listed).content.decode()
        Delivery.objects.filter(issue=issue).update(state="held", uncertain=True)
    row = desk.client.get(reverse("admin:newsletters_delivery_change", args=[Delivery.objects.get().pk]))
    assert "Resend…" in row.content.decode()
    assert "@gazette.example&gt;" in row.content.decode()


def test_only_a_row_that_waits_has_a_next_attempt(desk: Desk) -> None:
    make_held(desk)
    row = Delivery.objects.get()
    page = reverse("admin:newsletters_delivery_change", args=[row.pk])

    def next_attempt() -> str:
        text = desk.client.get(page).content.decode()
        found = re.search(r'Next attempt:</label>.*?<div class="readonly">(.*?)</div>', text, re.DOTALL)
        assert found is not None
        return found[1]

    assert next_attempt() == "-"
    Delivery.objects.update(state="queued", next_at="2099-01-02T03:04:05Z")
    assert "2099" in next_attempt()
