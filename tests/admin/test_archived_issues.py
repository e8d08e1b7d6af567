"""An archived issue in the admin: the accounting it had, and since when its rows are gone."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from pytest_django.fixtures import Settings

from newsletters.models import Delivery
from tests.admin.desks import Desk
from tests.delivery.ended import DAYS, OUTCOMES, archive, make_ended, rows_of

LINE = "7 = 3 sent + 1 bounced + 1 expired + 1 suppressed + 1 cancelled; 2 of the 7 uncertain"
pytestmark = pytest.mark.django_db


def test_the_accounting_stays_and_the_rows_are_gone(desk: Desk, settings: Settings) -> None:
    settings.DELIVERY_RETENTION_DAYS = DAYS
    issue = make_ended(desk.newsletter)
    other = make_ended(desk.newsletter, days=1)
    row = Delivery.objects.filter(issue=issue).earliest("pk")
    page = reverse("admin:newsletters_issue_change", args=[issue.pk])
    listed = reverse("admin:newsletters_issue_changelist")
    deliveries = reverse("admin:newsletters_delivery_changelist")
    detail = reverse("admin:newsletters_delivery_change", args=[row.pk])
    before = desk.client.get(page).content.decode()
    assert (LINE in before, "Archived at" in before, f"{deliveries}?issue={issue.pk}" in before) == (True, False, True)
    assert desk.client.get(detail).status_code == 200

    archive(issue, seconds=0)
    assert rows_of(issue) == len(OUTCOMES)

    after = desk.client.get(page).content.decode()
    assert (LINE in after, "Archived at" in after, f"{deliveries}?issue={issue.pk}" in after) == (True, True, False)
    assert desk.client.get(listed).content.decode().count(LINE) == 2
    # A row that still waits for its removal is shown no more.
    assert desk.client.get(detail).status_code == 302
    shown = desk.client.get(deliveries).content.decode()
    assert len(re.findall(r'class="field-address', shown)) == len(OUTCOMES)
    assert rows_of(other) == len(OUTCOMES)
