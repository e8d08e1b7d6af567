"""Destinations in the admin: what is shown, limited, reopened and forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from newsletters.delivery import destinations
from newsletters.delivery.pacing import Reports
from newsletters.models import Destination
from tests.admin.desks import Desk

LISTED = "admin:newsletters_destination_changelist"


@pytest.fixture
def closed(desk: Desk) -> Destination:
    key = (desk.publisher.pk, "example.org")
    destinations.exchange([], Reports(closures=[(key, "421 4.7.0 Slow <b>down</b>.")], windows=[(key, 4)]))
    return Destination.objects.get()


def rows(desk: Desk, **query: str) -> list[str]:
    return [str(row) for row in desk.client.get(reverse(LISTED), query).context["cl"].result_list]


def test_the_list_shows_closures_with_their_reply(desk: Desk, closed: Destination) -> None:
    page = desk.client.get(reverse(LISTED)).content.decode()
    assert "421 4.7.0 Slow &lt;b&gt;down&lt;/b&gt;." in page
    assert '<td class="field-window">4</td>' in page
    assert '<td class="field-opens">open</td>' not in page
    Destination.objects.update(closed_until="2020-01-01T00:00:00Z")
    assert '<td class="field-opens">open</td>' in desk.client.get(reverse(LISTED)).content.decode()


def test_destinations_are_found_by_domain_and_by_state(desk: Desk, closed: Destination) -> None:
    Destination.objects.create(publisher=desk.publisher, domain="example.net")
    assert rows(desk, q="ple.n") == ["example.net"]
    assert rows(desk, state="closed") == ["example.org"]
    assert rows(desk, state="open") == ["example.net"]
    assert rows(desk, state="else") == ["example.net", "example.org"]


def test_a_domain_is_limited_on_the_form(desk: Desk) -> None:
    form = {"publisher": desk.publisher.pk, "domain": "Example.ORG", "max_concurrency": "2"}
    assert desk.client.post(reverse("admin:newsletters_destination_add"), form).status_code == 302
    made = Destination.objects.get()
    assert (made.domain, made.max_concurrency) == ("example.org", 2)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"domain": "ada@example.org"}, "domain"), ({"max_concurrency": "0"}, "max_concurrency")],
)
def test_a_wrong_value_is_an_error_beside_its_field(desk: Desk, changes: dict[str, Any], field: str) -> None:
    form = {"publisher": desk.publisher.pk, "domain": "example.org", "max_concurrency": "2"} | changes
    answer = desk.client.post(reverse("admin:newsletters_destination_add"), form)
    assert answer.context["adminform"].form.errors[field]
    assert not Destination.objects.exists()


def test_a_domain_that_is_listed_already_is_an_error_on_the_form(desk: Desk, closed: Destination) -> None:
    form = {"publisher": desk.publisher.pk, "domain": "example.org", "max_concurrency": "2"}
    answer = desk.client.post(reverse("admin:newsletters_destination_add"), form)
    assert "already exists" in answer.content.decode()
    answer = desk.client.post(reverse("admin:newsletters_destination_add"), form | {"domain": "EXAMPLE.org"})
    assert f"example.org is listed already, as {closed.uid}." in answer.content.decode()
    assert Destination.objects.get().max_concurrency is None


def test_only_the_limit_can_be_edited(desk: Desk, closed: Destination) -> None:
    address = reverse("admin:newsletters_destination_change", args=[closed.pk])
    form = {"max_concurrency": "7", "domain": "evil.example", "window": "1000", "closed_seconds": "0"}
    assert desk.client.post(address, form).status_code == 302
    changed = Destination.objects.get()
    assert (changed.max_concurrency, changed.domain, changed.window) == (7, "example.org", 4)
    assert (changed.closed_until, changed.closed_seconds) == (closed.closed_until, 300)
    assert desk.client.post(address, {"max_concurrency": ""}).status_code == 302
    assert Destination.objects.get().max_concurrency is None


def test_a_closed_destination_has_a_button_that_reopens_it(desk: Desk, closed: Destination) -> None:
    address = reverse("admin:newsletters_destination_change", args=[closed.pk])
    assert "Reopen now" in desk.client.get(address).content.decode()
    form = {"action": "reopen", "_selected_action": str(closed.pk), "origin": "row"}
    assert desk.client.post(reverse(LISTED), form)["Location"] == address
    opened = Destination.objects.get()
    assert (opened.closed_until, opened.closed_seconds) == (None, 0)
    assert "Reopen now" not in desk.client.get(address).content.decode()


def test_forgetting_a_destination_asks_first(desk: Desk, closed: Destination) -> None:
    form = {"action": "forget", "_selected_action": str(closed.pk)}
    assert "example.org" in desk.client.post(reverse(LISTED), form).content.decode()
    assert Destination.objects.exists()
    desk.client.post(reverse(LISTED), form | {"confirmed": "yes"})
    assert not Destination.objects.exists()


def test_a_destination_of_another_publisher_cannot_be_reopened(other_desk: Desk, closed: Destination) -> None:
    form = {"action": "reopen", "_selected_action": str(closed.pk)}
    other_desk.client.post(reverse(LISTED), form)
    assert Destination.objects.get().closed_seconds == 300
