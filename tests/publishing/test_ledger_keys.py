"""A ledger row names an issue that is there, and a reader of its newsletter or nobody, whoever writes or deletes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from newsletters.audience.subscribing import erase_subscriber
from newsletters.models import Delivery, Issue, Newsletter, Subscription
from newsletters.publishing import fan_out as module
from newsletters.publishing.fan_out import fan_out
from tests.cast import ADA, BORIS, make_issue, make_newsletter, make_reader, make_readers
from tests.delivery.acts import begin, start
from tests.waiting import wait_for_a_waiter

pytestmark = pytest.mark.django_db
# SQLite has one writer at a time: what waits for what there is no question.
NOBODY = 2**40


@contextmanager
def refused() -> Iterator[None]:
    """Expect the database to refuse what is done, at once or at the end of the transaction."""
    with pytest.raises(IntegrityError), transaction.atomic(), _all_checked():
        yield


@contextmanager
def _all_checked() -> Iterator[None]:
    yield
    connection.check_constraints()


def run(sql: str, *parameters: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def readers_of(issue: Issue) -> list[int | None]:
    return sorted(Delivery.objects.filter(issue=issue).values_list("subscription_id", flat=True), key=str)


@pytest.mark.dialects
def test_a_row_of_no_issue_is_refused() -> None:
    reader = make_reader(make_newsletter())
    with refused():
        Delivery.objects.create(issue_id=NOBODY, subscription=None)
    with refused():
        Delivery.objects.create(issue_id=NOBODY, subscription=reader)


@pytest.mark.dialects
def test_a_row_of_no_reader_or_of_another_newsletters_reader_is_refused() -> None:
    newsletter = make_newsletter()
    issue, stranger = make_issue(newsletter), make_reader(make_newsletter(), address=BORIS)
    good = make_reader(newsletter)
    for pk in (NOBODY, stranger.pk):
        with refused():
            Delivery.objects.create(issue=issue, subscription_id=pk)
        # One bad row among good ones, in one statement.
        with refused():
            Delivery.objects.bulk_create([Delivery(issue=issue, subscription_id=key) for key in (good.pk, pk)])
    Delivery.objects.bulk_create([Delivery(issue=issue, subscription=reader) for reader in (good, None)])
    assert len(readers_of(issue)) == 2


@pytest.mark.dialects
def test_rows_of_several_issues_in_one_statement_are_each_checked() -> None:
    one, two = make_newsletter(), make_newsletter()
    first, second = make_issue(one), make_issue(two)
    ada, boris = make_reader(one, address=ADA), make_reader(two, address=BORIS)
    with refused():
        Delivery.objects.bulk_create([Delivery(issue=first, subscription=reader) for reader in (ada, boris)])
    Delivery.objects.bulk_create(
        [Delivery(issue=issue, subscription=reader) for issue, reader in ((first, ada), (second, boris))]
    )
    assert (readers_of(first), readers_of(second)) == ([ada.pk], [boris.pk])


@pytest.mark.dialects
def test_an_issue_with_rows_is_not_deleted_behind_the_ledgers_back() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    issue = start(newsletter)
    with refused():
        run("DELETE FROM newsletters_issue WHERE id = %s", issue.pk)
    issue.delete()
    assert not Delivery.objects.exists()


@pytest.mark.dialects
def test_a_deleted_reader_leaves_the_row_but_no_values() -> None:
    newsletter, other = make_newsletter(), make_newsletter()
    gone, kept = make_reader(newsletter, address=ADA), make_reader(newsletter, address=BORIS)
    elsewhere = make_reader(other, address=BORIS)
    issues = [start(newsletter), start(newsletter), start(other)]
    Delivery.objects.update(merge={"subscriber.name": "Ada"}, reply_text=f"<{ADA}> unknown")
    run("DELETE FROM newsletters_consentevent WHERE subscription_id = %s", gone.pk)
    run("DELETE FROM newsletters_subscription WHERE id = %s", gone.pk)
    assert [readers_of(issue) for issue in issues] == [[kept.pk, None], [kept.pk, None], [elsewhere.pk]]
    nameless = Delivery.objects.filter(subscription=None)
    assert set(nameless.values_list("merge", "reply_text")) == {(None, None)}
    assert Delivery.objects.filter(merge__isnull=False, reply_text__isnull=False).count() == 3


@pytest.mark.dialects
def test_no_row_ever_changes_the_keys_that_the_ledger_stands_on() -> None:
    newsletter, other = make_newsletter(), make_newsletter()
    ada, boris = make_reader(newsletter, address=ADA), make_reader(newsletter, address=BORIS)
    issue = start(newsletter)
    row = Delivery.objects.get(subscription=ada)
    Delivery.objects.filter(subscription=boris).delete()
    changes: list[Callable[[], object]] = [
        lambda: Delivery.objects.filter(pk=row.pk).update(subscription=boris),
        lambda: Delivery.objects.filter(pk=row.pk).update(issue=make_issue(newsletter)),
        lambda: Issue.objects.filter(pk=issue.pk).update(newsletter=other),
        lambda: Subscription.objects.filter(pk=ada.pk).update(newsletter=other),
    ]
    for change in changes:
        with refused():
            change()
    row.save()
    issue.save()
    ada.save()


@pytest.mark.django_db(transaction=True)
@pytest.mark.dialects
def test_readers_who_are_erased_during_fan_out_leave_no_dangling_row_and_take_nobody_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_CHUNK", 5)
    monkeypatch.setattr(module, "CHUNK", 5)
    newsletter = make_newsletter()
    readers = make_readers(newsletter, 200)
    leaving = readers[::2]
    issue = make_issue(newsletter)
    begin(issue)
    failures: list[BaseException] = []

    def erase(readers: list[Subscription]) -> None:
        for reader in readers:
            erase_subscriber(reader.subscriber)

    _at_once([lambda: fan_out(issue.pk), lambda: erase(leaving[::2]), lambda: erase(leaving[1::2])], failures)
    # One that met a chunk at work returned at once; the clock would ring again.
    fan_out(issue.pk)
    assert failures == []
    found = list(Delivery.objects.filter(issue=issue).values_list("subscription_id", "merge"))
    assert sorted(pk for pk, _ in found if pk is not None) == [reader.pk for reader in readers[1::2]]
    assert all(merge is None for pk, merge in found if pk is None)
    issue.refresh_from_db()
    assert (issue.audience, issue.fan_out_done_at is not None) == (len(found), True)


@pytest.mark.django_db(transaction=True)
def test_a_deletion_waits_for_the_chunk_that_has_read_the_reader() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    issue = make_issue(newsletter)
    begin(issue)
    with transaction.atomic():
        module._insert_chunk(issue.pk, ())
        thread, failures = _begin(lambda: erase_subscriber(reader.subscriber))
        wait_for_a_waiter("the other transaction waits")
    thread.join()
    assert failures == []
    assert readers_of(issue) == [None]


@pytest.mark.django_db(transaction=True)
def test_a_chunk_waits_for_the_deletion_and_does_not_see_the_reader() -> None:
    newsletter = make_newsletter()
    reader, stays = make_reader(newsletter, address=ADA), make_reader(newsletter, address=BORIS)
    issue = make_issue(newsletter)
    begin(issue)
    with transaction.atomic():
        erase_subscriber(reader.subscriber)
        thread, failures = _begin(lambda: fan_out(issue.pk))
        wait_for_a_waiter("the other transaction waits")
    thread.join()
    assert failures == []
    assert readers_of(issue) == [stays.pk]


@pytest.mark.django_db(transaction=True)
def test_a_hand_written_row_for_a_reader_who_is_being_deleted_is_refused() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    issue = make_issue(newsletter)
    with transaction.atomic():
        erase_subscriber(reader.subscriber)
        thread, failures = _begin(lambda: Delivery.objects.create(issue=issue, subscription_id=reader.pk))
        wait_for_a_waiter("the other transaction waits")
    thread.join()
    assert [type(failure) for failure in failures] == [IntegrityError]
    assert not Delivery.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_issue_is_not_deleted_under_a_chunk() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    issue = make_issue(newsletter)
    begin(issue)
    with transaction.atomic():
        module._insert_chunk(issue.pk, ())
        thread, failures = _begin(lambda: Issue.objects.get(pk=issue.pk).delete())
        wait_for_a_waiter("the other transaction waits")
    thread.join()
    assert [type(failure) for failure in failures] == [IntegrityError]
    assert readers_of(issue) == [reader.pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_an_old_snapshot_could_miss_the_other_side_so_it_may_not_write_keys(level: str) -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter)
    issue = make_issue(newsletter)

    def at_level(act: Callable[[], object]) -> None:
        with transaction.atomic():
            run(f"SET TRANSACTION ISOLATION LEVEL {level}")
            act()

    with pytest.raises(DatabaseError, match="READ COMMITTED only"):
        at_level(lambda: Delivery.objects.create(issue=issue, subscription=reader))
    with pytest.raises(DatabaseError, match="READ COMMITTED only"):
        at_level(reader.subscriber.delete)


@pytest.mark.django_db(transaction=True)
def test_what_the_ledger_names_is_not_truncated_without_it() -> None:
    newsletter = make_newsletter()
    make_reader(newsletter)
    start(newsletter)
    for table in ("newsletters_issue", "newsletters_subscription"):
        with refused():
            run(f"TRUNCATE {table} CASCADE")
    run("TRUNCATE newsletters_issue, newsletters_subscription, newsletters_delivery CASCADE")
    assert Newsletter.objects.exists()


def _begin(act: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    failures: list[BaseException] = []
    thread = threading.Thread(target=_act, args=(act, failures))
    thread.start()
    return thread, failures


def _at_once(acts: list[Callable[[], object]], failures: list[BaseException]) -> None:
    threads = [threading.Thread(target=_act, args=(act, failures)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _act(act: Callable[[], object], failures: list[BaseException]) -> None:
    try:
        act()
    except BaseException as error:  # noqa: BLE001  # whatever it was, the test must see it
        failures.append(error)
    finally:
        connection.close()
