"""Writing, previewing and sending issues in the admin."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.http import HttpResponseBase
from django.urls import reverse

from accounts.models import Publisher
from newsletters.models import Delivery, DeliveryState, Issue, IssueState, Notice
from newsletters.publishing import sending
from tests import cast
from tests.admin.desks import Desk

LIST = "admin:newsletters_issue_changelist"


def said(answer: HttpResponseBase) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]  # type: ignore[attr-defined]  # the client's


def step(desk: Desk, name: str, *issues: Issue, confirmed: bool = True) -> HttpResponseBase:
    form: dict[str, object] = {"action": name, "_selected_action": [issue.pk for issue in issues]}
    return desk.client.post(reverse(LIST), form | ({"confirmed": "yes"} if confirmed else {}))


def state(issue: Issue) -> str:
    return Issue.objects.values_list("state", flat=True).get(pk=issue.pk)


def new_issue(desk: Desk, **changes: str) -> dict[str, str]:
    form = {"newsletter": str(desk.newsletter.pk), "subject": "Spring", "preheader": "", "body_format": "markdown"}
    return form | {"body": "# Hello"} | changes


def test_an_issue_is_written_by_the_one_who_is_signed_in(desk: Desk) -> None:
    assert desk.client.post(reverse("admin:newsletters_issue_add"), new_issue(desk)).status_code == 302
    issue = Issue.objects.get()
    assert (issue.subject, issue.created_by, issue.state) == ("Spring", desk.user, IssueState.DRAFT)


def test_an_unknown_merge_tag_is_an_error_beside_the_body(desk: Desk) -> None:
    answer = desk.client.post(
        reverse("admin:newsletters_issue_add"), new_issue(desk, body="Dear {{ settings.SECRET_KEY }}")
    )
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors["body"]
    assert not Issue.objects.exists()


def test_an_issue_of_another_publishers_newsletter_cannot_be_written(desk: Desk, other_desk: Desk) -> None:
    answer = desk.client.post(
        reverse("admin:newsletters_issue_add"), new_issue(desk, newsletter=str(other_desk.newsletter.pk))
    )
    assert answer.context["adminform"].form.errors["newsletter"]
    assert not Issue.objects.exists()


def test_a_draft_is_changed_and_a_started_issue_is_read_only(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    address = reverse("admin:newsletters_issue_change", args=[issue.pk])
    assert desk.client.post(address, new_issue(desk, subject="Summer")).status_code == 302
    sending.send(issue.pk)
    assert desk.client.post(address, new_issue(desk, subject="Winter")).status_code == 403
    assert Issue.objects.get().subject == "Summer"
    assert desk.client.get(address).status_code == 200


def test_a_time_that_has_passed_is_no_schedule(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    address = reverse("admin:newsletters_issue_schedule", args=[issue.pk])
    assert (
        "To send the issue now, use Send."
        in desk.client.post(address, {"send_at": "2020-01-01T10:00"}).content.decode()
    )
    assert state(issue) == IssueState.DRAFT


def test_sending_asks_first_and_names_the_number_of_readers(desk: Desk) -> None:
    cast.make_readers(desk.newsletter, 3)
    issue = cast.make_issue(desk.newsletter)
    asked = step(desk, "send", issue, confirmed=False)
    assert "to 3 readers" in asked.content.decode()  # type: ignore[attr-defined]  # the client's
    assert state(issue) == IssueState.DRAFT


def test_several_issues_are_sent_and_each_failure_is_reported(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    good = cast.make_issue(desk.newsletter, subject="Good")
    empty = cast.make_issue(desk.newsletter, subject="Empty", body="")
    sentences = said(step(desk, "send", good, empty))
    assert state(good) == IssueState.SENDING
    assert state(empty) == IssueState.DRAFT
    assert sorted(sentence.split(":")[0] for sentence in sentences) == ["Empty", "Good"]


def test_a_second_send_is_refused_with_a_message(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    step(desk, "send", issue)
    sentences = said(step(desk, "send", issue))
    assert any("only a draft or a scheduled issue can be sent" in sentence for sentence in sentences)


def test_an_issue_of_another_publisher_is_not_sent(desk: Desk, other_desk: Desk) -> None:
    cast.make_reader(other_desk.newsletter)
    foreign = cast.make_issue(other_desk.newsletter)
    step(desk, "send", foreign)
    assert state(foreign) == IssueState.DRAFT


def test_a_viewer_cannot_send(viewer_desk: Desk) -> None:
    cast.make_reader(viewer_desk.newsletter)
    issue = cast.make_issue(viewer_desk.newsletter)
    step(viewer_desk, "send", issue)
    assert state(issue) == IssueState.DRAFT


def test_buttons_pause_resume_and_cancel(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    sending.send(issue.pk)
    for name, expected in (("pause", "paused"), ("resume", "sending"), ("cancel", "cancelled")):
        step(desk, name, issue)
        assert state(issue) == expected


def test_the_button_of_a_row_leads_back_to_it(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    form = {"action": "send", "_selected_action": issue.pk, "confirmed": "yes", "origin": "row"}
    answer = desk.client.post(reverse(LIST), form)
    assert answer["Location"] == reverse("admin:newsletters_issue_change", args=[issue.pk])


def test_a_deleted_draft_is_gone(desk: Desk) -> None:
    issue = cast.make_issue(desk.newsletter)
    step(desk, "delete_issue", issue)
    assert not Issue.objects.exists()


def test_the_list_shows_the_accounting_of_a_started_issue(desk: Desk) -> None:
    readers = cast.make_readers(desk.newsletter, 3)
    issue = cast.make_issue(desk.newsletter)
    sending.send(issue.pk)
    states = (DeliveryState.SENT, DeliveryState.SENT, DeliveryState.QUEUED)
    Delivery.objects.bulk_create(
        Delivery(issue=issue, subscription=reader, state=one) for reader, one in zip(readers, states, strict=True)
    )
    Issue.objects.update(audience=3)
    page = desk.client.get(reverse(LIST)).content.decode()
    assert "3 = 1 queued + 2 sent" in page
    assert '<progress max="3" value="2">' in page


def test_the_preview_is_sandboxed_and_greets_the_chosen_reader(desk: Desk) -> None:
    cast.make_reader(desk.newsletter, name="Ada")
    cast.make_reader(desk.newsletter, address=cast.BORIS, name="Boris")
    issue = cast.make_issue(desk.newsletter)
    page = desk.client.get(reverse("admin:newsletters_issue_preview", args=[issue.pk]))
    assert "<iframe" in page.content.decode()
    assert "sandbox" in page.content.decode()
    frame = desk.client.get(reverse("admin:newsletters_issue_frame", args=[issue.pk]), {"reader": cast.BORIS})
    assert "Boris" in frame.content.decode()
    assert frame["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


def test_the_preview_of_another_publishers_issue_is_not_found(desk: Desk, other_desk: Desk) -> None:
    issue = cast.make_issue(other_desk.newsletter)
    for name in ("preview", "frame", "proof", "schedule"):
        assert desk.client.get(reverse(f"admin:newsletters_issue_{name}", args=[issue.pk])).status_code == 404


def test_a_proof_goes_to_each_address(desk: Desk) -> None:
    issue = cast.make_issue(desk.newsletter)
    address = reverse("admin:newsletters_issue_proof", args=[issue.pk])
    answer = desk.client.post(address, {"addresses": f"{cast.ADA}, {cast.BORIS}\n"})
    assert answer.status_code == 302
    assert set(Notice.objects.values_list("to_address", flat=True)) == {cast.ADA, cast.BORIS}


def test_a_proof_to_a_wrong_address_is_refused_on_the_page(desk: Desk) -> None:
    issue = cast.make_issue(desk.newsletter)
    answer = desk.client.post(reverse("admin:newsletters_issue_proof", args=[issue.pk]), {"addresses": "no@@such"})
    assert answer.status_code == 200
    assert answer.context["form"].non_field_errors()
    assert not Notice.objects.exists()


def test_a_schedule_is_read_in_the_publishers_time_zone(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    Publisher.objects.update(time_zone="Asia/Tokyo")
    issue = cast.make_issue(desk.newsletter)
    scheduled = reverse("admin:newsletters_issue_schedule", args=[issue.pk])
    year = issue.created_at.year + 1
    answer = desk.client.post(scheduled, {"send_at": f"{year}-01-02T09:00"})
    assert answer.status_code == 302
    issue.refresh_from_db()
    assert issue.scheduled_at is not None
    assert issue.scheduled_at.isoformat() == f"{year}-01-02T00:00:00+00:00"


@pytest.mark.parametrize("name", ["preview", "proof", "schedule"])
def test_the_pages_of_an_issue_open(desk: Desk, name: str) -> None:
    issue = cast.make_issue(desk.newsletter)
    assert desk.client.get(reverse(f"admin:newsletters_issue_{name}", args=[issue.pk])).status_code == 200


def test_deliveries_are_found_by_address_and_state_and_cannot_be_changed(desk: Desk) -> None:
    issue = cast.make_issue(desk.newsletter)
    for address, one in ((cast.ADA, DeliveryState.SENT), (cast.BORIS, DeliveryState.BOUNCED)):
        reader = cast.make_reader(desk.newsletter, address=address)
        Delivery.objects.create(issue=issue, subscription=reader, state=one, reply_text=f"about {address}")
    listed = reverse("admin:newsletters_delivery_changelist")
    for query in ({"q": cast.BORIS}, {"q": "bor"}, {"state__exact": "bounced"}):
        page = desk.client.get(listed, query).content.decode()
        assert f"about {cast.BORIS}" in page
        assert f"about {cast.ADA}" not in page
    row = reverse("admin:newsletters_delivery_change", args=[Delivery.objects.earliest("pk").pk])
    assert desk.client.post(row, {"state": "queued"}).status_code == 403


@pytest.mark.parametrize(("started", "offered"), [(True, "Resume"), (False, "Back to draft")])
def test_a_blocked_issue_can_go_on_from_where_it_was(desk: Desk, started: bool, offered: str) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    if started:
        sending.send(issue.pk)
    assert Issue.objects.filter(pk=issue.pk).move([IssueState.DRAFT, IssueState.SENDING], IssueState.BLOCKED)
    page = desk.client.get(reverse("admin:newsletters_issue_change", args=[issue.pk])).content.decode()
    assert [label for label in ("Resume", "Back to draft") if label in page] == [offered]
