from __future__ import annotations

import datetime
import resource
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from accounts.models import AccountMail, AccountMailKind
from core.models import ClockLease, MailState, RestoreGuard
from core.restore_guard import guard_row, seen
from core.restore_store import open_store
from newsletters.doctor import capacity, work
from newsletters.doctor.findings import Finding, Level, Terms
from newsletters.doctor.guard import restore
from newsletters.models import (
    ActiveCourier,
    Delivery,
    DeliveryState,
    Import,
    Issue,
    IssueState,
    Notice,
    NoticeKind,
    NoticeState,
)
from newsletters.models.audience_import import ImportState
from tests.cast import ADA, make_issue, make_newsletter, make_readers
from tests.doctor.visit import by_code, fault

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]

LONG_AGO = Now() - datetime.timedelta(hours=1)
SOON = Now() + datetime.timedelta(hours=1)


def hold_clock(*, until: Any) -> None:
    ClockLease.objects.filter(pk=1).delete()
    ClockLease.objects.bulk_create([ClockLease(pk=1)])
    ClockLease.objects.update(holder=uuid.uuid4(), until=until)


def make_running_issue(*, readers: int = 2, **fields: Any) -> Issue:
    """Return an issue that has been sending for an hour, with a queued delivery for each reader."""
    newsletter = make_newsletter()
    issue = make_issue(newsletter)
    rows = [Delivery(issue=issue, subscription=one) for one in make_readers(newsletter, readers)]
    defaults = {
        "state": IssueState.SENDING,
        "started_at": LONG_AGO,
        "resumed_at": LONG_AGO,
        "fan_out_done_at": LONG_AGO,
    }
    Issue.objects.filter(pk=issue.pk).update(**(defaults | fields))
    Delivery.objects.bulk_create(rows)
    Delivery.objects.update(next_at=LONG_AGO)
    return issue


# --- processes --------------------------------------------------------------------------------------------


def test_a_clock_that_is_held_and_couriers_at_work_are_in_order() -> None:
    hold_clock(until=Now() + datetime.timedelta(seconds=10))
    ActiveCourier.objects.create(holder=uuid.uuid4())
    found = by_code(work.processes(Terms()))
    assert {one.level for one in found.values()} == {Level.OK}
    assert set(found) == {"work.clock", "work.couriers"}
    assert "at most 32 connections" in found["work.couriers"].seen


@pytest.mark.parametrize("held", [None, LONG_AGO])
def test_without_a_clock_waiting_work_makes_it_an_error(held: Any) -> None:
    ClockLease.objects.all().delete()
    if held is not None:
        hold_clock(until=held)
    assert fault(work.processes(Terms()), "work.no_clock", Level.WARNING).remedy == "python manage.py worker"
    make_running_issue()
    fault(work.processes(Terms()), "work.no_clock", Level.ERROR)


def test_two_workers_with_a_broker_in_memory() -> None:
    ActiveCourier.objects.bulk_create([ActiveCourier(holder=uuid.uuid4()) for _ in range(2)])
    assert "BROKER_URL" in fault(work.processes(Terms()), "work.memory_broker_shared", Level.WARNING).remedy


def test_a_process_that_may_open_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (64, 64))
    assert "ulimit -n" in fault(capacity.files(Terms()), "work.too_few_files", Level.WARNING).remedy
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 1024))
    assert list(capacity.files(Terms())) == []


# --- issues -----------------------------------------------------------------------------------------------


def test_an_issue_that_does_not_move_is_found_and_one_in_somebody_s_hand_is_not() -> None:
    issue = make_running_issue()
    assert issue.uid in fault(work.issues(Terms()), "work.issue_stuck", Level.WARNING).seen
    first = Delivery.objects.earliest("pk")
    held = Delivery.objects.filter(pk=first.pk)
    held.update(state=DeliveryState.SENDING, lease_token=uuid.uuid4(), lease_until=SOON)
    assert "work.issue_stuck" not in by_code(work.issues(Terms()))
    held.update(lease_until=LONG_AGO)
    fault(work.issues(Terms()), "work.issue_stuck", Level.WARNING)


def test_an_issue_that_was_resumed_a_moment_ago_is_given_its_time() -> None:
    make_running_issue(resumed_at=Now())
    assert "work.issue_stuck" not in by_code(work.issues(Terms()))


def test_an_issue_whose_retries_lie_ahead_is_in_order() -> None:
    make_running_issue()
    Delivery.objects.update(next_at=SOON)
    assert "work.issue_stuck" not in by_code(work.issues(Terms()))


@pytest.mark.parametrize("state", [IssueState.PAUSED, IssueState.BLOCKED])
def test_an_issue_that_was_stopped_is_named_with_its_reason(state: IssueState) -> None:
    make_running_issue(state=state, state_reason="relay_refused", state_detail="535 5.7.8 wrong password")
    seen_as = fault(work.issues(Terms()), "work.issue_stopped", Level.WARNING).seen
    assert "relay_refused 535 5.7.8 wrong password" in seen_as


def test_an_issue_that_a_person_paused_is_worth_a_note() -> None:
    make_running_issue(state=IssueState.PAUSED)
    fault(work.issues(Terms()), "work.issue_paused", Level.NOTE)


def test_a_scheduled_issue_that_should_have_started() -> None:
    issue = make_issue(make_newsletter())
    Issue.objects.filter(pk=issue.pk).update(state=IssueState.SCHEDULED, scheduled_at=SOON)
    assert "work.issue_overdue" not in by_code(work.issues(Terms()))
    Issue.objects.filter(pk=issue.pk).update(scheduled_at=LONG_AGO)
    fault(work.issues(Terms()), "work.issue_overdue", Level.WARNING)


def test_a_list_that_is_not_complete_after_long() -> None:
    make_running_issue(fan_out_done_at=None)
    fault(work.issues(Terms()), "work.fan_out_slow", Level.WARNING)


# --- deliveries, notices, imports ---------------------------------------------------------------------------


def test_held_and_uncertain_deliveries_are_counted() -> None:
    assert [one.level for one in work.deliveries(Terms())] == [Level.OK]
    make_running_issue(readers=3)
    one, two, _ = Delivery.objects.order_by("pk")
    Delivery.objects.filter(pk=one.pk).update(state=DeliveryState.HELD, uncertain=True)
    Delivery.objects.filter(pk=two.pk).update(uncertain=True)
    assert fault(work.deliveries(Terms()), "work.held", Level.WARNING).seen.startswith("1 deliveries")
    assert by_code(work.deliveries(Terms()))["work.uncertain"].seen.startswith("Of 2 deliveries")


@pytest.mark.parametrize(
    ("fields", "code", "level"),
    [
        ({"next_at": LONG_AGO}, "work.notices_late", Level.WARNING),
        ({"next_at": SOON, "created_at": LONG_AGO}, "work.notices_deferred", Level.WARNING),
        ({"state": NoticeState.FAILED}, "work.notices_failed", Level.NOTE),
    ],
)
def test_notices_that_wait_or_failed_are_found(fields: dict[str, Any], code: str, level: Level) -> None:
    issue = make_issue(make_newsletter())
    notice = Notice.objects.create(kind=NoticeKind.PROOF, issue=issue, to_address="editor@gazette.example")
    assert {one.level for one in work.others(Terms())} == {Level.OK}
    Notice.objects.filter(pk=notice.pk).update(last_reply="451 4.7.1 come back later", **fields)
    found: Finding = fault(work.others(Terms()), code, level)
    assert found.seen.startswith("1 ")


@pytest.mark.parametrize(
    ("fields", "code", "level"),
    [
        ({"next_at": LONG_AGO}, "work.account_mails_late", Level.WARNING),
        ({"next_at": SOON, "created_at": LONG_AGO}, "work.account_mails_deferred", Level.WARNING),
        ({"state": MailState.FAILED}, "work.account_mails_failed", Level.NOTE),
    ],
)
def test_mails_about_accounts_that_wait_or_failed_are_found(fields: dict[str, Any], code: str, level: Level) -> None:
    row = AccountMail.objects.create(kind=AccountMailKind.ADDRESS_TAKEN, to_address=ADA)
    assert {one.level for one in work.others(Terms())} == {Level.OK}
    AccountMail.objects.filter(pk=row.pk).update(last_reply="451 4.7.1 come back later", **fields)
    assert fault(work.others(Terms()), code, level)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": ImportState.QUEUED, "created_at": LONG_AGO},
        {"state": ImportState.RUNNING, "lease_until": LONG_AGO},
    ],
)
def test_an_import_that_does_not_move_is_found(fields: dict[str, Any]) -> None:
    made = Import.objects.create(newsletter=make_newsletter(), consent_source="fair", total=10)
    assert {one.level for one in work.others(Terms())} == {Level.OK}
    Import.objects.filter(pk=made.pk).update(**fields)
    assert made.uid in fault(work.others(Terms()), "work.import_stuck", Level.WARNING).seen


# --- the restore guard --------------------------------------------------------------------------------------


@pytest.fixture
def store(settings: Any, tmp_path: Path) -> Path:
    path = tmp_path / "restore-guard.json"
    settings.RESTORE_GUARD_STORE = str(path)
    return path


def test_a_database_that_is_remembered_is_in_order(store: Path, settings: Any) -> None:
    assert [one.code for one in restore(Terms())] == ["work.guard_empty"]
    open_store(settings.RESTORE_GUARD_STORE).remember(seen(guard_row()))
    assert [(one.code, one.level) for one in restore(Terms())] == [("work.guard", Level.OK)]


def test_a_database_that_went_back_in_time_is_found_before_a_worker_runs(store: Path, settings: Any) -> None:
    guard_row()
    RestoreGuard.objects.update(counter=7)
    open_store(settings.RESTORE_GUARD_STORE).remember(seen(guard_row()))
    RestoreGuard.objects.update(counter=3)
    assert "accept-restore" in fault(restore(Terms()), "work.restore_seen", Level.ERROR).remedy


def test_blocked_sending_is_an_error_with_its_reason(store: Path) -> None:
    guard_row()
    RestoreGuard.objects.update(blocked_at=Now(), blocked_why="The database went back in time.")
    found = fault(restore(Terms()), "work.restore_blocked", Level.ERROR)
    assert "went back in time" in found.seen
    assert "accept-restore" in found.remedy


def test_a_guard_that_is_off_or_whose_memory_is_damaged(store: Path, settings: Any) -> None:
    store.write_text("not what was written")
    fault(restore(Terms()), "work.guard_store_unusable", Level.WARNING)
    settings.RESTORE_GUARD_STORE = "off"
    fault(restore(Terms()), "work.guard_off", Level.WARNING)
