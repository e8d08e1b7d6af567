"""What the restore guard must not overlook, and what must not look like a restore."""

from __future__ import annotations

import datetime
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test import Client

from accounts.audit import SYSTEM
from accounts.models import ActorKind, AuditEntry
from core import restore_guard
from core.errors import ConflictError
from core.models import RestoreGuard
from core.restore_store import FileStore
from newsletters.delivery import restore_watch
from newsletters.delivery.claim import claim
from newsletters.delivery.deciding import Decision, decide_all
from newsletters.delivery.restore_watch import Watch
from newsletters.models import Delivery, DeliveryState, Issue, IssueState
from newsletters.publishing import sending
from tests.cast import make_issue, make_newsletter, make_reader
from tests.delivery.acts import send_to_one

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


@pytest.fixture
def memory(tmp_path: Path, settings: Any) -> Path:
    settings.RESTORE_GUARD_STORE = str(tmp_path / "memory.json")
    return tmp_path / "memory.json"


@pytest.fixture
def watch(memory: Path) -> Watch:
    made = Watch(FileStore(memory))
    assert made.check()
    return made


def put_back(issue: Issue) -> None:
    """Do what loading a dump into a live database does, after the trip."""
    Issue.objects.filter(pk=issue.pk).update(state=IssueState.SENDING, state_reason="")


def accept(*arguments: str) -> None:
    call_command("accept_restore", "--yes", *arguments, stdout=io.StringIO())


def fail_to_read(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_path: Path) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "read_bytes", fail)


def test_a_role_that_may_not_read_the_system_identifier_is_recognised_by_the_rest(watch: Watch) -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE plain_review")
        cursor.execute("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO plain_review")
        cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        cursor.execute("SET LOCAL ROLE plain_review")
    parts = restore_guard.seen(restore_guard.guard_row()).parts
    assert parts["system_identifier"] is None
    assert parts["database_oid"] is not None
    assert watch.check()


def test_an_issue_put_back_after_the_trip_is_blocked_by_the_acceptance(watch: Watch) -> None:
    issue = send_to_one()
    RestoreGuard.objects.update(counter=0)
    assert not watch.check()
    put_back(issue)
    accept()
    issue.refresh_from_db()
    assert (issue.state, issue.state_reason) == (IssueState.BLOCKED, restore_watch.RESTORE_GUARD)


def test_a_claim_after_another_process_tripped_hands_out_nothing(
    watch: Watch, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Watch(FileStore(memory))
    assert other.check()
    monkeypatch.setattr(restore_watch, "_registered", [watch])
    issue = send_to_one()
    RestoreGuard.objects.update(counter=0)
    assert not other.check()
    put_back(issue)
    assert claim(issue.pk, 10) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_a_memory_that_cannot_be_read_now_is_no_restore(
    watch: Watch, memory: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    with monkeypatch.context() as while_it_lasts:
        fail_to_read(while_it_lasts, number)
        assert watch.check(), "a worker that knows its database goes on"
        starting = Watch(FileStore(memory))
        assert not starting.check(), "one that starts waits"
        assert not restore_guard.is_blocked()
    assert starting.check()


def readiness(client: Client) -> tuple[int, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["guard_store"]["state"]


def test_readyz_shows_that_a_worker_cannot_use_its_store_until_it_can_again(
    watch: Watch, memory: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    assert readiness(client) == (200, "ok")
    with monkeypatch.context() as while_it_lasts:
        fail_to_read(while_it_lasts, errno.EIO)
        assert watch.check()
        assert readiness(client) == (200, "unreachable")
    assert watch.check()
    # Another worker's store may be away still: only time tells that nobody complains.
    assert readiness(client) == (200, "unreachable")
    long_ago = F("store_failed_at") - restore_guard.STORE_FAILURE_STANDS
    assert RestoreGuard.objects.update(store_failed_at=long_ago) == 1
    assert readiness(client) == (200, "ok")
    RestoreGuard.objects.update(store_failed_at=Now() + datetime.timedelta(hours=2))
    assert readiness(client) == (200, "ok"), "the database's clock was put back"
    assert str(memory) not in client.get("/readyz").content.decode()


def test_readyz_shows_a_store_that_can_be_read_and_not_written(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    def fail(_store: FileStore, _text: str) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(FileStore, "_write", fail)
    assert watch.check()
    assert readiness(client) == (200, "unreachable")


def test_readyz_shows_the_store_of_a_worker_that_waits_for_it_at_its_first_start(
    memory: Path, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    assert readiness(client) == (200, "unknown")
    fail_to_read(monkeypatch, errno.EIO)
    assert not Watch(FileStore(memory)).check()
    assert readiness(client) == (200, "unreachable")


def test_the_memory_keeps_its_owner_when_root_accepts(watch: Watch, memory: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can write what belongs to somebody else")
    os.chown(memory, 10_001, 10_001)
    RestoreGuard.objects.update(counter=0)
    accept()
    assert memory.stat().st_uid == memory.with_name("memory.json.lock").stat().st_uid == 10_001


def test_an_overdue_issue_does_not_start_before_the_database_is_recognised(
    watch: Watch, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = make_issue(newsletter)
    Issue.objects.filter(pk=issue.pk).move([IssueState.DRAFT], IssueState.SCHEDULED, scheduled_at=Now())
    monkeypatch.setattr(restore_watch, "_registered", [])
    monkeypatch.setattr(restore_watch, "_expected", [])
    restore_watch.expect()
    sending.start_due(issue.pk)
    RestoreGuard.objects.update(counter=0)
    restore_watch.register(Watch(FileStore(memory)))
    sending.start_due(issue.pk)
    issue.refresh_from_db()
    assert issue.started_at is None
    assert restore_guard.is_blocked()


def test_the_counter_is_on_disk_before_it_is_remembered(watch: Watch) -> None:
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        assert watch.check()
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("local",)


def test_a_held_row_of_a_sent_issue_is_not_resent_while_sending_is_blocked(watch: Watch) -> None:
    issue = send_to_one()
    Delivery.objects.filter(issue=issue).update(state=DeliveryState.HELD)
    Issue.objects.filter(pk=issue.pk).update(state=IssueState.SENT, finished_at=Now())
    RestoreGuard.objects.update(counter=0)
    assert not watch.check()
    with pytest.raises(ConflictError) as caught:
        decide_all(issue.pk, Decision.RESEND, actor=SYSTEM)
    assert caught.value.code == "sending_blocked"
    issue.refresh_from_db()
    assert issue.state == IssueState.SENT


def test_the_audit_log_says_that_a_restore_was_accepted(watch: Watch) -> None:
    RestoreGuard.objects.update(counter=0)
    accept()
    entry = AuditEntry.objects.get(action="restore.accepted")
    assert (entry.actor_kind, entry.publisher_id) == (ActorKind.COMMAND, None)
    assert "went back in time" in entry.detail["why"]
