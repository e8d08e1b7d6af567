"""A database that went back in time sends nothing until a person accepts it."""

from __future__ import annotations

import dataclasses
import io
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

from core import restore_guard
from core.errors import ConflictError
from core.models import RestoreGuard
from core.restore_store import FileStore, Memory, UnreadableError
from newsletters.delivery import notices, restore_watch
from newsletters.delivery.claim import claim
from newsletters.delivery.restore_watch import Watch
from newsletters.models import Delivery, Issue, IssueState, NoticeKind
from newsletters.publishing import sending
from tests.cast import make_issue, make_newsletter, make_reader
from tests.delivery.acts import send_to_one

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.fixture
def store(tmp_path: Path, settings: Any) -> FileStore:
    settings.RESTORE_GUARD_STORE = str(tmp_path / "memory.json")
    return FileStore(tmp_path / "memory.json")


@pytest.fixture
def watch(store: FileStore) -> Watch:
    made = Watch(store)
    assert made.check()
    return made


def go_back() -> None:
    RestoreGuard.objects.update(counter=0)


def state_of(issue: Issue) -> tuple[str, str]:
    issue.refresh_from_db()
    return issue.state, issue.state_reason


def test_the_counter_grows_and_is_remembered_at_each_look(watch: Watch, store: FileStore) -> None:
    first = store.read()
    assert watch.check()
    second = store.read()
    assert first is not None
    assert second is not None
    assert second.counter == first.counter + 1 == RestoreGuard.objects.get().counter


def test_a_database_that_went_back_blocks_issues_under_a_live_worker_and_after_a_restart(
    watch: Watch, store: FileStore
) -> None:
    issue = send_to_one()
    go_back()
    assert not watch.check()
    assert state_of(issue) == (IssueState.BLOCKED, "restore_guard")
    assert not Watch(store).may_send()


def test_a_restart_alone_never_trips(watch: Watch, store: FileStore) -> None:
    assert all(Watch(store).check() for _ in range(3))
    assert not restore_guard.is_blocked()


def test_another_database_trips(watch: Watch, store: FileStore) -> None:
    RestoreGuard.objects.update(acceptance=uuid.uuid4(), counter=10_000)
    assert not Watch(store).check()
    assert "another one" in RestoreGuard.objects.get().blocked_why


@pytest.mark.parametrize("part", ["system_identifier", "timeline", "database_oid", "delivery_table_oid"])
def test_a_changed_part_trips_and_one_that_cannot_be_read_does_not(watch: Watch, store: FileStore, part: str) -> None:
    if connection.vendor != "postgresql":
        return
    memory = store.read()
    assert memory is not None
    assert memory.parts[part]
    store.remember(dataclasses.replace(memory, parts=memory.parts | {part: None}), force=True)
    assert Watch(store).check()
    memory = store.read()
    assert memory is not None
    store.remember(dataclasses.replace(memory, parts=memory.parts | {part: "1"}), force=True)
    assert not Watch(store).check()
    assert part in RestoreGuard.objects.get().blocked_why


def test_a_damaged_memory_blocks(watch: Watch, store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "memory.json").write_text('{"counter": ')
    with pytest.raises(UnreadableError):
        store.read()
    assert not Watch(store).check()
    assert restore_guard.is_blocked()


def test_nobody_lowers_the_memory(watch: Watch, store: FileStore) -> None:
    memory = store.read()
    assert memory is not None
    store.remember(dataclasses.replace(memory, counter=0))
    store.remember(Memory(str(uuid.uuid4()), 10_000, {}))
    assert store.read() == memory


def test_the_memory_is_its_owners_alone(watch: Watch, tmp_path: Path) -> None:
    assert (tmp_path / "memory.json").stat().st_mode & 0o777 == 0o600


def test_a_claim_sees_a_restore_that_came_just_before_it(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_watch, "_registered", [watch])
    issue = send_to_one()
    go_back()
    claim(issue.pk, 10)
    assert state_of(issue) == (IssueState.BLOCKED, "restore_guard")
    assert claim(issue.pk, 10) == []


def test_nothing_can_be_started_or_resumed_while_sending_is_blocked(watch: Watch) -> None:
    issue = send_to_one()
    sending.pause(issue.pk)
    draft = make_issue(issue.newsletter)
    go_back()
    watch.check()
    for step, pk in ((sending.resume, issue.pk), (sending.send, draft.pk)):
        with pytest.raises(ConflictError) as caught:
            step(pk)
        assert caught.value.code == "sending_blocked"
        assert "accept-restore" in caught.value.detail
    assert state_of(issue)[0] == IssueState.PAUSED
    assert state_of(draft)[0] == IssueState.DRAFT


def test_notices_and_scheduled_issues_wait(watch: Watch) -> None:
    newsletter = make_newsletter()
    subscription = make_reader(newsletter)
    issue = make_issue(newsletter)
    Issue.objects.filter(pk=issue.pk).move([IssueState.DRAFT], IssueState.SCHEDULED, scheduled_at=Now())
    notice = notices.queue(NoticeKind.CONFIRMATION, to="ada@example.org", subscription=subscription)
    go_back()
    watch.check()
    assert sending.due_issues() == []
    sending.start_due(issue.pk)
    assert state_of(issue)[0] == IssueState.SCHEDULED
    assert notices.due_ids(10) == []
    call_command("accept_restore", "--yes", stdout=io.StringIO())
    assert state_of(issue) == (IssueState.BLOCKED, "restore_guard")
    assert [pk for pk, _ in notices.due_ids(10)] == [notice.pk]


@pytest.mark.parametrize("resume", [False, True])
def test_accepting_leaves_issues_blocked_unless_asked_to_resume(
    watch: Watch, store: FileStore, tmp_path: Path, resume: bool
) -> None:
    elsewhere = FileStore(tmp_path / "elsewhere.json")
    assert Watch(elsewhere).check()
    issue = send_to_one()
    go_back()
    out = io.StringIO()
    # No worker has looked yet: the command looks for itself.
    call_command("accept_restore", "--yes", *(["--resume"] if resume else []), stdout=out)
    assert f"{issue.uid} blocked, 1 readers open" in out.getvalue()
    assert state_of(issue)[0] == (IssueState.SENDING if resume else IssueState.BLOCKED)
    assert Delivery.objects.get(issue=issue).uncertain, "it may have had its mail after the backup"
    assert watch.check()
    assert Watch(store).check()
    assert Watch(elsewhere).check(), "the memory of another machine recognises the acceptance"
    assert not restore_guard.is_blocked()


def test_a_second_restore_after_an_acceptance_trips_again(watch: Watch, store: FileStore) -> None:
    before = RestoreGuard.objects.values().get()
    go_back()
    call_command("accept_restore", "--yes", stdout=io.StringIO())
    RestoreGuard.objects.update(**before)
    assert not Watch(store).check()


def test_there_is_nothing_to_accept_in_a_known_database(watch: Watch) -> None:
    before = RestoreGuard.objects.get().acceptance
    out = io.StringIO()
    call_command("accept_restore", stdout=out)
    assert "nothing to accept" in out.getvalue()
    assert RestoreGuard.objects.get().acceptance == before


def test_readiness_says_that_sending_is_blocked_and_stays_200(watch: Watch, client: Any) -> None:
    assert client.get("/readyz").json()["sending"] == "ok"
    go_back()
    watch.check()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["sending"]) == (200, "blocked")


def test_the_admin_shows_it_on_every_page(watch: Watch, admin_client: Any) -> None:
    assert b"accept-restore" not in admin_client.get("/admin/", follow=True).content
    go_back()
    watch.check()
    assert b"accept-restore" in admin_client.get("/admin/", follow=True).content
