from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.db.models.functions import Now

from core.errors import CourantError
from newsletters.models import (
    ConsentEvent,
    Delivery,
    Edition,
    Import,
    ImportPart,
    ImportRowError,
    Issue,
    IssueState,
    Newsletter,
    Notice,
    NoticeKind,
    Subscriber,
    Subscription,
)
from newsletters.publishing import newsletters, sending
from tests import cast

pytestmark = pytest.mark.django_db


def fill(newsletter: Newsletter) -> None:
    issue = cast.make_issue(newsletter, state=IssueState.CANCELLED)
    Edition.objects.create(issue=issue, template=b"{}", sha256=b"0" * 32)
    readers = cast.make_readers(newsletter, 5)
    Delivery.objects.bulk_create(Delivery(issue=issue, subscription=reader) for reader in readers)
    Notice.objects.create(kind=NoticeKind.PROOF, to_address=cast.ADA, issue=issue)
    Notice.objects.create(kind=NoticeKind.CONFIRMATION, to_address=cast.ADA, subscription=readers[0])
    imported = Import.objects.create(newsletter=newsletter, consent_source="form")
    ImportPart.objects.create(audience_import=imported, position=0, data=b"email\n")
    ImportRowError.objects.create(audience_import=imported, line=2, code="invalid_address", detail="No.")


def test_a_purge_removes_all_rows_of_a_deleted_newsletter_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newsletters, "PURGE_BATCH", 2)
    publisher = cast.make_publisher()
    kept, doomed = cast.make_newsletter(publisher), cast.make_newsletter(cast.make_publisher())
    for newsletter in (kept, doomed):
        fill(newsletter)
    newsletters.delete_newsletter(doomed)
    assert newsletters.due_for_purge(10) == [doomed.pk]
    removed = newsletters.purge(doomed.pk)
    assert removed == 1 + 5 + 5 + 5 + 2 + 1 + 3 + 1
    assert newsletters.due_for_purge(10) == []
    assert Subscriber.objects.count() == 10
    for model, count in {Newsletter: 1, Issue: 1, Subscription: 5, ConsentEvent: 5, Delivery: 5, Notice: 2}.items():
        assert model._default_manager.count() == count
    assert newsletters.purge(doomed.pk) == 0


def test_a_purge_leaves_a_living_newsletter_alone() -> None:
    newsletter = cast.make_newsletter()
    fill(newsletter)
    assert newsletters.purge(newsletter.pk) == 0
    assert Delivery.objects.count() == 5


def test_deleting_twice_keeps_the_first_time() -> None:
    newsletter = cast.make_newsletter()
    newsletters.delete_newsletter(newsletter)
    first = Newsletter.objects.get().deleted_at
    newsletters.delete_newsletter(newsletter)
    assert Newsletter.objects.get().deleted_at == first


@pytest.mark.django_db(transaction=True)
def test_of_a_send_and_a_deletion_at_once_one_wins() -> None:
    outcomes = set()
    for _ in range(15):
        newsletter = cast.make_newsletter()
        cast.make_reader(newsletter)
        issue = cast.make_issue(newsletter)
        gate = threading.Barrier(2)

        def attempt(step: object, gate: threading.Barrier = gate) -> None:
            gate.wait(timeout=120)
            try:
                step()  # type: ignore[operator]
            except CourantError:
                pass
            finally:
                connection.close()

        steps = (lambda pk=issue.pk: sending.send(pk), lambda one=newsletter: newsletters.delete_newsletter(one))
        threads = [threading.Thread(target=attempt, args=[step]) for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        deleted = Newsletter.objects.filter(pk=newsletter.pk, deleted_at__lte=Now()).exists()
        outcomes.add((deleted, Issue.objects.get(pk=issue.pk).state))
    assert outcomes <= {(True, "cancelled"), (False, "sending")}


@pytest.mark.parametrize("field", ["description", "postal_address"])
@pytest.mark.parametrize("text", ["a\x0bb", "a\x00b", "a\u2028b", "a\x85b"])
def test_control_characters_are_refused_wherever_they_come_from(field: str, text: str) -> None:
    newsletter = cast.make_newsletter()
    with pytest.raises(CourantError) as raised:
        newsletters.update_newsletter(newsletter, **{field: text})
    assert [(error.code, error.pointer) for error in raised.value.errors] == [("control_character", f"/{field}")]
