"""The audit log is written once: the database refuses to change or remove an entry while its publisher is there."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from accounts import audit
from accounts.models import AuditEntry, Publisher
from tests import cast

pytestmark = [pytest.mark.django_db, pytest.mark.dialects]


def write(publisher: Publisher | None) -> None:
    publisher_id = None if publisher is None else publisher.pk
    audit.record(
        "issue.sent", actor=audit.SYSTEM, publisher_id=publisher_id, object_type="issue", object_id="iss_1", detail={}
    )


@pytest.mark.parametrize("whose", ["a publisher's", "the installation's"])
@pytest.mark.parametrize(
    "statement", ["UPDATE accounts_auditentry SET actor = 'nobody'", "DELETE FROM accounts_auditentry"]
)
def test_an_entry_is_neither_changed_nor_removed(whose: str, statement: str) -> None:
    write(cast.make_publisher() if whose == "a publisher's" else None)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditEntry.objects.get().actor == "courant"


def test_the_entries_of_a_publisher_go_with_it_and_no_others() -> None:
    gone, stays = cast.make_publisher(), cast.make_publisher("The Rival")
    for publisher in (gone, stays, None):
        write(publisher)
    gone.delete()
    assert sorted(AuditEntry.objects.values_list("publisher", flat=True), key=str) == sorted([stays.pk, None], key=str)


def test_an_entry_is_undone_with_its_effect() -> None:
    with transaction.atomic():
        write(None)
        transaction.set_rollback(True)
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("which", ["one", "the next"])
def test_entries_that_one_test_committed_are_gone_in_the_next(which: str) -> None:
    assert not AuditEntry.objects.exists()
    write(cast.make_publisher())
    write(None)
