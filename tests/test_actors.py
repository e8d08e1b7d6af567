"""In which order a worker takes what waits for it, and what the clock rings."""

from __future__ import annotations

import threading
from datetime import timedelta

import dramatiq
import pytest
from django.core import mail
from django.db.models.functions import Now
from dramatiq.brokers.stub import StubBroker
from pytest_django.fixtures import Settings

from accounts.mailing import queue
from accounts.models import AccountMail, AccountMailKind
from newsletters import actors
from newsletters.publishing.progress import measure
from tests import cast
from tests.delivery.ended import DAYS, make_ended


@pytest.fixture
def order() -> list[str]:
    return []


def test_a_free_thread_takes_transactional_mail_before_everything_else(order: list[str]) -> None:
    broker, busy, all_here = StubBroker(middleware=[]), threading.Event(), threading.Event()
    copies = []
    for actor in (actors.import_subscribers, actors.fan_out, actors.deliver, actors.send_confirmation):

        def note(_row_id: int, name: str = actor.actor_name) -> None:
            order.append(name)

        copies.append(
            dramatiq.Actor(
                note,
                broker=broker,
                actor_name=actor.actor_name,
                queue_name=actor.queue_name,
                priority=actor.priority,
                options={},
            )
        )

    def wait() -> None:
        busy.set()
        all_here.wait(120)

    first = dramatiq.Actor(wait, broker=broker, actor_name="wait", queue_name="default", priority=0, options={})
    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=100)
    worker.start()
    try:
        first.send()
        assert busy.wait(120)
        for copy in copies:
            copy.send(1)
        while worker.work_queue.qsize() < len(copies):
            threading.Event().wait(0.02)
        all_here.set()
        for queue in ("transactional", "bulk", "default"):
            broker.join(queue, timeout=120_000)
    finally:
        all_here.set()
        worker.stop()
    assert order[0] == "send_confirmation"
    assert len(order) == len(copies)


@pytest.mark.django_db
@pytest.mark.dialects
def test_old_issues_are_archived_only_when_the_operator_says_after_how_many_days(settings: Settings) -> None:
    issue = make_ended()

    def rung(now: float) -> list[int]:
        bells = [bell for question in actors.QUESTIONS for bell in question.bells(now)]
        return [bell.row_id for bell in bells if bell.actor is actors.archive_issues]

    assert rung(1_000) == []
    settings.DELIVERY_RETENTION_DAYS = DAYS
    assert rung(1_120) == [issue.pk]
    actors.archive_issues.fn(issue.pk)
    assert rung(1_240) == []
    assert measure(issue).archived_at is not None


@pytest.mark.django_db
@pytest.mark.dialects
def test_a_mail_about_an_account_is_rung_for_until_it_is_sent_and_forgotten_in_the_end() -> None:
    user = cast.make_user()
    row = queue(AccountMailKind.RESET_PASSWORD, to=user.email, user=user)

    def rung(now: float) -> list[int]:
        bells = [bell for question in actors.QUESTIONS for bell in question.bells(now)]
        return [bell.row_id for bell in bells if bell.actor is actors.send_account_mail]

    assert rung(2_000) == [row.pk]
    # Not at every tick while it waits for a thread.
    assert rung(2_001) == []
    assert rung(2_006) == [row.pk]
    actors.send_account_mail.fn(row.pk)
    assert rung(2_012) == []
    assert [message.to for message in mail.outbox] == [[user.email]]
    AccountMail.objects.update(sent_at=Now() - timedelta(days=31))
    rung(3_000)
    assert not AccountMail.objects.exists()
