"""What people and programs do to issues and keys is written down, and shown to the publisher's owners."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts.audit import Actor
from accounts.models import ActorKind, AuditEntry, Membership, Role
from newsletters.models import Issue
from newsletters.publishing import sending
from newsletters.publishing.keys import create_key_as, revoke_key_as
from tests import cast
from tests.admin.desks import Desk, sit_down

pytestmark = pytest.mark.django_db
LIST = "admin:accounts_auditentry_changelist"


def do(desk: Desk, noun: str, action: str, pk: int) -> None:
    form = {"action": action, "_selected_action": str(pk), "confirmed": "yes"}
    desk.client.post(reverse(f"admin:{noun}_changelist"), form)


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def test_each_move_of_an_issue_is_written_down_once(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter)
    page = reverse("admin:newsletters_issue_schedule", args=[issue.pk])
    desk.client.post(page, {"send_at": "2099-01-01T08:00"})
    assert not AuditEntry.objects.exists()
    Issue.objects.filter(pk=issue.pk).update(state="scheduled", scheduled_at="2099-01-01T08:00Z")
    for action in ("unschedule", "send", "pause", "pause", "resume", "resume", "cancel", "cancel", "send"):
        do(desk, "newsletters_issue", action, issue.pk)
    expected = ["issue.unscheduled", "issue.started", "issue.paused", "issue.resumed", "issue.cancelled"]
    assert actions() == expected
    assert set(AuditEntry.objects.values_list("actor", "object_id", "publisher")) == {
        (desk.user.email, issue.uid, desk.publisher.pk)
    }


def test_what_the_clock_starts_has_no_entry(desk: Desk) -> None:
    cast.make_reader(desk.newsletter)
    issue = cast.make_issue(desk.newsletter, state="scheduled", scheduled_at="2020-01-01T00:00Z")
    sending.start_due(issue.pk)
    assert Issue.objects.get().state == "sending"
    assert actions() == []


def test_making_and_revoking_a_key_is_written_down_without_its_secret(desk: Desk) -> None:
    actor = Actor(ActorKind.USER, desk.user.email)
    key, text = create_key_as(desk.user, desk.publisher, name="Laptop", scopes=["issues:read"], actor=actor)
    for _ in range(2):
        revoke_key_as(desk.user, key, actor=actor)
    assert actions() == ["api_key.created", "api_key.revoked"]
    made = AuditEntry.objects.earliest("pk")
    assert (made.object_id, made.detail) == (key.uid, {"name": "Laptop", "scopes": ["issues:read"]})
    assert text not in str(list(AuditEntry.objects.values()))


def test_a_key_made_on_the_server_is_written_down(desk: Desk) -> None:
    call_command("create_api_key", publisher=desk.publisher.name, name="CI", scopes="all")
    entry = AuditEntry.objects.get()
    assert (entry.actor_kind, entry.actor, entry.action) == ("command", "create_api_key", "api_key.created")


def test_entries_are_seen_by_their_publisher_and_by_superusers_and_changed_by_nobody(
    desk: Desk, other_desk: Desk, superuser_client: Client
) -> None:
    call_command("create_api_key", publisher=desk.publisher.name, name="CI", scopes="all")
    entry = AuditEntry.objects.get()
    page = reverse("admin:accounts_auditentry_change", args=[entry.pk])
    for client, sees in ((desk.client, True), (superuser_client, True), (other_desk.client, False)):
        assert (entry.object_id in client.get(reverse(LIST)).content.decode()) == sees
        assert (entry.object_id in client.get(page, follow=True).content.decode()) == sees
    for address in (page, reverse("admin:accounts_auditentry_add")):
        assert superuser_client.post(address, {"actor": "nobody"}).status_code == 403


@pytest.mark.parametrize("role", [Role.EDITOR, Role.VIEWER])
def test_only_owners_see_who_acted_and_from_which_address(desk: Desk, other_desk: Desk, role: Role) -> None:
    for publisher in (desk.publisher, other_desk.publisher):
        call_command("create_api_key", publisher=publisher.name, name="CI", scopes="all")
    theirs, own = AuditEntry.objects.order_by("pk")
    # An owner of one publisher may be less at another.
    Membership.objects.create(user=other_desk.user, publisher=desk.publisher, role=role)
    seen = other_desk.client.get(reverse(LIST)).content.decode()
    assert (own.object_id in seen, theirs.object_id in seen) == (True, False)
    member = sit_down(cast.make_user("member@gazette.example", publisher=desk.publisher, role=role, is_staff=True))
    assert member.get(reverse(LIST)).status_code == 403
    assert member.get(reverse("admin:accounts_auditentry_change", args=[theirs.pk])).status_code == 403
    assert reverse(LIST) not in member.get(reverse("admin:index")).content.decode()
