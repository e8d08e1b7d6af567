"""Fan-out inserts exactly the audience of the moment of starting, whatever happens meanwhile."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection
from django.db.models.functions import Now

from newsletters.models import ConsentEvent, Delivery, Issue, IssueState, Subscription, SubscriptionState
from newsletters.publishing import fan_out as module
from newsletters.publishing import sending
from newsletters.publishing.fan_out import fan_out, issues_to_fan_out
from newsletters.publishing.progress import measure
from tests.cast import ADA, BORIS, CHLOE, DMITRI, make_issue, make_newsletter, make_reader, make_readers
from tests.delivery.acts import begin, claim
from tests.killing import Kill, KilledError

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def become(subscription: Subscription, state: str) -> None:
    Subscription.objects.filter(pk=subscription.pk).update(state=state, changed_at=Now())
    ConsentEvent.objects.create(subscription=subscription, state=state, source="test")


def audience(issue: Issue) -> set[int | None]:
    return set(Delivery.objects.filter(issue=issue).values_list("subscription_id", flat=True))


def test_only_active_readers_of_this_newsletter_are_in_the_audience() -> None:
    newsletter, other = make_newsletter(), make_newsletter()
    active = make_reader(newsletter, address=ADA)
    make_reader(newsletter, address=BORIS, state=SubscriptionState.PENDING)
    make_reader(newsletter, address=CHLOE, state=SubscriptionState.UNSUBSCRIBED)
    make_reader(other, address=DMITRI)
    issue = make_issue(newsletter)
    begin(issue)
    fan_out(issue.pk)
    assert audience(issue) == {active.pk}
    assert measure(issue).fan_out_complete
    assert issues_to_fan_out() == []


def test_the_audience_is_who_was_active_at_the_start() -> None:
    newsletter = make_newsletter()
    stays, leaves, returns = (make_reader(newsletter, address=address) for address in (ADA, BORIS, CHLOE))
    joins = make_reader(newsletter, address=DMITRI, state=SubscriptionState.PENDING)
    issue = make_issue(newsletter)
    begin(issue)
    # SQLite's clock counts milliseconds: what follows must come after the start.
    time.sleep(0.01)
    become(leaves, "unsubscribed")
    become(returns, "unsubscribed")
    become(returns, "active")
    become(joins, "active")
    make_reader(newsletter, address="late@example.org")
    fan_out(issue.pk)
    assert audience(issue) == {stays.pk, leaves.pk, returns.pk}


def test_chunks_meet_without_gap_or_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_CHUNK", 3)
    monkeypatch.setattr(module, "CHUNK", 4)
    newsletter = make_newsletter()
    expected = {reader.pk for reader in make_readers(newsletter, 15)}
    issue = make_issue(newsletter)
    begin(issue)
    fan_out(issue.pk)
    fan_out(issue.pk)
    progress = measure(issue)
    assert audience(issue) == expected
    assert (progress.audience, progress.queued, progress.accounted) == (15, 15, True)


def test_a_fan_out_killed_at_any_statement_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_CHUNK", 3)
    monkeypatch.setattr(module, "CHUNK", 4)
    newsletter = make_newsletter()
    expected = {reader.pk for reader in make_readers(newsletter, 10)}
    issue = make_issue(newsletter)
    begin(issue)
    killed = 0
    for statement in range(1, 40):
        with connection.execute_wrapper(Kill(after=statement)):
            try:
                fan_out(issue.pk)
            except KilledError:
                killed += 1
        if issues_to_fan_out() == []:
            break
    assert killed >= 4
    progress = measure(issue)
    assert audience(issue) == expected
    assert (progress.audience, progress.accounted) == (10, True)


def test_a_cancelled_issue_is_fanned_out_as_cancelled_so_the_equation_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_CHUNK", 2)
    newsletter = make_newsletter()
    make_readers(newsletter, 5)
    issue = make_issue(newsletter)
    begin(issue)
    module._insert_chunk(issue.pk, ())
    sending.cancel(issue.pk)
    fan_out(issue.pk)
    progress = measure(issue)
    assert (progress.audience, progress.queued, progress.cancelled, progress.accounted) == (5, 2, 3, True)


def test_fan_out_goes_on_while_an_issue_is_paused() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = make_issue(newsletter)
    begin(issue)
    sending.pause(issue.pk)
    assert issues_to_fan_out() == [issue.pk]
    fan_out(issue.pk)
    assert measure(issue).queued == 3


def test_the_values_a_reader_is_greeted_with_are_frozen_with_the_audience() -> None:
    newsletter = make_newsletter()
    reader = make_reader(newsletter, address=ADA, name="Ada", attributes={"city": 'Bath "Spa"', "plan": "a.b"})
    issue = make_issue(newsletter, body="Hi {{ subscriber.name }} in {{ subscriber.city }}, {{ subscriber.nothing }}")
    sending.send(issue.pk)
    fan_out(issue.pk)
    reader.subscriber.name = "Somebody Else"
    reader.subscriber.save()
    (row,) = claim(issue)
    assert row.merge == {"subscriber.name": "Ada", "subscriber.city": 'Bath "Spa"', "subscriber.nothing": None}


def test_any_number_of_values_can_be_frozen() -> None:
    newsletter = make_newsletter()
    values = {f"field_{number}": f"100% of {number}" for number in range(120)}
    make_reader(newsletter, attributes=values)
    issue = make_issue(newsletter, body="".join(f"{{{{ subscriber.{name} }}}} " for name in values))
    sending.send(issue.pk)
    fan_out(issue.pk)
    (row,) = claim(issue)
    assert row.merge == {f"subscriber.{name}": value for name, value in values.items()}


@pytest.mark.django_db(transaction=True)
def test_two_fan_outs_at_once_insert_nobody_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_CHUNK", 5)
    monkeypatch.setattr(module, "CHUNK", 5)
    newsletter = make_newsletter()
    expected = {reader.pk for reader in make_readers(newsletter, 200)}
    issue = make_issue(newsletter)
    begin(issue)
    failures: list[BaseException] = []
    threads = [threading.Thread(target=_fan_out_in_thread, args=(issue.pk, failures)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert audience(issue) == expected
    assert Issue.objects.get(pk=issue.pk).audience == 200


def _fan_out_in_thread(pk: int, failures: list[BaseException]) -> None:
    try:
        fan_out(pk)
    except BaseException as error:  # noqa: BLE001  # whatever it was, the test must see it
        failures.append(error)
    finally:
        connection.close()


def test_an_issue_is_never_doubled_by_the_database_itself() -> None:
    newsletter = make_newsletter()
    make_readers(newsletter, 3)
    issue = make_issue(newsletter)
    begin(issue)
    fan_out(issue.pk)
    Issue.objects.filter(pk=issue.pk).update(fan_out_cursor=0, fan_out_done_at=None)
    fan_out(issue.pk)
    assert len(Delivery.objects.filter(issue=issue)) == 3
    assert Issue.objects.get(pk=issue.pk).state == IssueState.SENDING
