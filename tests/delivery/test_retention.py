"""Of an issue that ended long ago the counts stay and the rows go, whatever happens on the way."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from newsletters.delivery import rescue, retention
from newsletters.models import Delivery, DeliveryState, Issue, IssueState
from newsletters.publishing import newsletters, sending
from newsletters.publishing.fan_out import fan_out
from newsletters.publishing.progress import measure
from tests.cast import make_issue, make_newsletter, make_readers
from tests.delivery.acts import begin, claim, permit, settle, start, states
from tests.delivery.ended import DAYS, OUTCOMES, age, archive, make_ended, rows_of
from tests.killing import Kill, KilledError

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]
COUNTS = {
    "queued": 0,
    "sending": 0,
    "sent": 3,
    "bounced": 1,
    "expired": 1,
    "suppressed": 1,
    "cancelled": 1,
    "held": 0,
    "uncertain": 2,
}


@pytest.fixture(autouse=True)
def small_batches(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DELIVERY_RETENTION_DAYS = DAYS
    monkeypatch.setattr(retention, "BATCH", 2)


def test_the_counts_stay_and_the_rows_go() -> None:
    issue = make_ended()
    before = measure(issue)
    assert retention.due_ids(0) == [issue.pk]
    assert archive(issue) == len(OUTCOMES)
    issue.refresh_from_db()
    assert issue.final_counts == COUNTS
    assert issue.archived_at is not None
    assert rows_of(issue) == 0
    after = measure(issue)
    assert after == type(after)(**(vars(before) | {"archived_at": issue.archived_at}))
    assert (after.accounted, after.uncertain) == (True, 2)


def test_a_second_run_changes_nothing() -> None:
    issue = make_ended()
    archive(issue)
    issue.refresh_from_db()
    assert retention.due_ids(0) == []
    assert archive(issue) == 0
    again = Issue.objects.get(pk=issue.pk)
    assert (again.archived_at, again.final_counts) == (issue.archived_at, issue.final_counts)


def test_without_a_number_of_days_everything_is_kept(settings: Settings) -> None:
    settings.DELIVERY_RETENTION_DAYS = 0
    issue = make_ended(days=10_000)
    with CaptureQueriesContext(connection) as queries:
        assert (retention.oldest_issue(), retention.due_ids(0), retention.run(0)) == ([], [], 0)
        assert archive(issue) == 0
    assert [query for query in queries if "newsletters_" in query["sql"]] == []
    assert rows_of(issue) == len(OUTCOMES)


def test_only_issues_that_ended_long_ago_are_touched() -> None:
    newsletter = make_newsletter()
    due = make_ended(newsletter)
    young, sending_one, paused = make_ended(newsletter, days=DAYS - 1), start(newsletter), start(newsletter)
    sending.pause(paused.pk)
    deleted = make_ended()
    newsletters.delete_newsletter(deleted.newsletter)
    make_issue(newsletter)
    assert retention.due_ids(0) == [due.pk]
    for issue in (young, sending_one, paused, deleted):
        assert archive(issue) == 0
        assert Issue.objects.get(pk=issue.pk).archived_at is None
        assert rows_of(issue) == len(OUTCOMES)


def test_a_cancelled_issue_is_archived_like_a_sent_one() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = start(newsletter)
    sending.cancel(issue.pk)
    rescue.sweep_cancelled()
    rescue.finish_issues()
    age(issue, DAYS + 1)
    assert archive(issue) == 3
    progress = measure(issue)
    assert (progress.state, progress.audience, progress.cancelled, progress.accounted) == ("cancelled", 3, 3, True)


def test_an_issue_that_was_cancelled_before_its_start_is_left_alone() -> None:
    issue = make_issue(make_newsletter(), state=IssueState.BLOCKED)
    sending.cancel(issue.pk)
    age(issue, DAYS + 1)
    assert retention.due_ids(0) == []
    assert archive(issue) == 0
    assert Issue.objects.get(pk=issue.pk).archived_at is None


@pytest.mark.parametrize("state", [DeliveryState.HELD, DeliveryState.QUEUED])
def test_an_issue_with_a_row_that_is_not_decided_keeps_all(state: str) -> None:
    issue = make_ended()
    row = Delivery.objects.filter(issue=issue).earliest("pk")
    Delivery.objects.filter(pk=row.pk).update(state=state)
    assert archive(issue) == 0
    assert Issue.objects.get(pk=issue.pk).archived_at is None
    assert rows_of(issue) == len(OUTCOMES)
    Delivery.objects.filter(pk=row.pk).update(state=DeliveryState.SENT)
    assert archive(issue) == len(OUTCOMES)


def test_an_issue_whose_rows_do_not_add_up_keeps_all(caplog: pytest.LogCaptureFixture) -> None:
    issue = make_ended()
    Issue.objects.filter(pk=issue.pk).update(audience=F("audience") + 1)
    assert archive(issue) == 0
    assert Issue.objects.get(pk=issue.pk).archived_at is None
    assert rows_of(issue) == len(OUTCOMES)
    assert "issue_not_archived" in caplog.text


def test_one_that_cannot_be_archived_keeps_nobody_waiting() -> None:
    newsletter = make_newsletter()
    stuck, free = make_ended(newsletter), make_ended(newsletter)
    Delivery.objects.filter(issue=stuck).update(state=DeliveryState.HELD)
    assert {retention.due_ids(0)[0] for _ in range(64)} == {stuck.pk, free.pk}
    assert retention.run(stuck.pk) == len(OUTCOMES)
    assert (rows_of(stuck), rows_of(free)) == (len(OUTCOMES), 0)


def test_a_search_begins_at_the_oldest_issue_that_has_rows() -> None:
    newsletter = make_newsletter()
    first, second = make_ended(newsletter), make_ended(newsletter)
    assert retention.oldest_issue() == [first.pk]
    assert retention.due_ids(second.pk) == [second.pk]
    archive(first)
    assert retention.oldest_issue() == [second.pk]
    archive(second)
    assert retention.oldest_issue() == []


def test_a_run_ends_with_its_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    issue = make_ended()
    monkeypatch.setattr(retention, "SLICE_SECONDS", 0.0)
    assert retention.run(issue.pk) == 0
    assert Issue.objects.get(pk=issue.pk).archived_at is None


def test_a_kill_at_any_statement_loses_no_count_and_leaves_no_row() -> None:
    issue = make_ended()
    begun: set[tuple[bool, int]] = set()
    while retention.due_ids(0):
        # Three statements close the account, three remove a batch.
        for statements in (1, 2, 3, 5, 7):
            with connection.execute_wrapper(Kill(after=statements)), pytest.raises(KilledError):
                archive(issue)
            progress = measure(issue)
            assert {name: getattr(progress, name) for name in COUNTS} == COUNTS
            assert progress.accounted
            begun.add((progress.archived_at is not None, rows_of(issue)))
            if not rows_of(issue):
                break
    assert {(False, 7), (True, 7), (True, 5)} <= begun
    assert rows_of(issue) == 0


def test_what_was_begun_goes_on_before_others_begin() -> None:
    newsletter = make_newsletter()
    issues = [make_ended(newsletter) for _ in range(3)]
    assert archive(issues[1], seconds=0) == 0
    assert rows_of(issues[1]) == len(OUTCOMES)
    assert {retention.due_ids(0)[0] for _ in range(16)} == {issues[1].pk}
    assert set(retention.due_ids(0)) == {issue.pk for issue in issues}


def test_a_batch_removes_so_many_rows_in_the_order_of_their_ids() -> None:
    issue = make_ended()
    other = make_ended()
    ids = list(Delivery.objects.filter(issue=issue).order_by("pk").values_list("pk", flat=True))
    retention._close_account(issue.pk)
    assert retention._remove_batch(issue.pk, after=0) == ids[:2]
    assert retention._remove_batch(issue.pk, after=ids[2]) == ids[3:5]
    assert rows_of(issue) == len(ids) - 4
    assert rows_of(other) == len(OUTCOMES)
    assert retention._remove_batch(other.pk, after=0) == []


def test_each_batch_is_one_transaction_of_a_few_statements() -> None:
    issue = make_ended()
    retention._close_account(issue.pk)
    with CaptureQueriesContext(connection) as queries:
        retention._remove_batch(issue.pk, after=0)
    verbs = [query["sql"].split()[0] for query in queries]
    assert [verb for verb in verbs if verb in {"SELECT", "DELETE"}] == ["SELECT", "SELECT", "DELETE"]


@pytest.mark.django_db(transaction=True)
def test_two_processes_at_once_do_no_harm() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 60)
    issue = make_issue(newsletter)
    begin(issue)
    fan_out(issue.pk)
    for row in claim(issue, 60):
        settle(permit(row), "sent")
    rescue.finish_issues()
    age(issue, DAYS + 1)
    failures: list[BaseException] = []
    removed: list[int] = []
    gate = threading.Barrier(2)

    def work() -> None:
        try:
            gate.wait(timeout=120)
            while retention.due_ids(0):
                removed.append(archive(issue))
        except BaseException as error:  # noqa: BLE001  # whatever it was, the test must see it
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(removed) == 60
    progress = measure(issue)
    assert (progress.sent, progress.accounted, states(issue)) == (60, True, {})
