from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from django.db import connection

from core.errors import CourantError, InvalidError
from newsletters.audience import import_chunk, import_sql, importing
from newsletters.audience.import_chunk import Chunk
from newsletters.audience.suppressing import suppress
from newsletters.models import (
    ConsentEvent,
    Import,
    ImportPart,
    ImportRowError,
    Notice,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from tests import cast
from tests.audience.acts import accept, counts, run

pytestmark = pytest.mark.django_db
ACTIVE, UNSUBSCRIBED, PENDING = SubscriptionState.ACTIVE, SubscriptionState.UNSUBSCRIBED, SubscriptionState.PENDING


def errors(finished: Import) -> list[tuple[int, str]]:
    return list(finished.row_errors.order_by("line").values_list("line", "code"))


def many(count: int, start: int = 0) -> str:
    return "".join(f"reader-{number}@example.org,Reader {number}\n" for number in range(start, start + count))


def test_a_file_becomes_active_readers_with_names_attributes_and_consent() -> None:
    finished = run(accept('email,Name,Favourite City\nAda@Example.ORG,"Lovelace, Ada",London\nboris@example.org,,\n'))
    assert (finished.state, finished.total, finished.cursor, counts(finished)) == ("done", 2, 2, {"added": 2})
    assert finished.finished_at is not None
    assert finished.lease_until is None
    ada, boris = Subscriber.objects.order_by("address_key")
    assert (ada.address, ada.name, ada.attributes) == ("Ada@example.org", "Lovelace, Ada", {"favourite_city": "London"})
    assert (boris.name, boris.attributes) == ("", {})
    assert set(Subscription.objects.values_list("state", flat=True)) == {ACTIVE}
    event = ConsentEvent.objects.filter(subscription__subscriber=ada).get()
    assert (event.state, event.source, event.detail) == (ACTIVE, "import", f"{finished.uid}: a fair in Leipzig")
    assert not ImportPart.objects.exists()
    assert not Notice.objects.exists()


def test_an_import_needs_a_source_of_consent() -> None:
    with pytest.raises(InvalidError):
        importing.accept(cast.make_newsletter(), io.BytesIO(b"email\n"), consent_source="")


def test_a_bad_row_is_reported_by_its_line_and_the_others_are_imported() -> None:
    finished = run(
        accept(
            "email,name,city\n"
            "ada@example.org,Ada,London\n"
            "nobody,Nobody,\n"
            "boris@example.org,Boris\n"
            "\n"
            'chloe@example.net,"Chloé\nMartin",Paris\n'
            "dmitri@example.net,Dmitri,Omsk,more\n"
            f"elif@example.com,{'E' * 101},\n"
            "farai@example.com,Farai,a\u2028b\n"
            "=1+1@example.com,=HYPERLINK(1),@SUM\n"
        )
    )
    assert counts(finished) == {"added": 2, "invalid": 6}
    assert errors(finished) == [
        (3, "invalid_address"),
        (4, "wrong_field_count"),
        (6, "control_character"),
        (8, "wrong_field_count"),
        (9, "too_long"),
        (10, "invalid_attribute_value"),
    ]
    formula = Subscriber.objects.get(address__startswith="=")
    assert (formula.name, formula.attributes) == ("=HYPERLINK(1)", {"city": "@SUM"})
    assert sum(counts(finished).values()) == finished.total == finished.cursor


def test_a_repeated_address_is_one_reader_and_counted_as_a_duplicate() -> None:
    finished = run(accept("email\nada@ünï.de\nADA@xn--n-nga1b.de\nada@ÜNÏ.de\nboris@example.org\n"))
    assert counts(finished) == {"added": 2, "duplicates": 2}
    assert Subscriber.objects.count() == 2


def test_nobody_who_left_or_is_suppressed_is_brought_back() -> None:
    newsletter = cast.make_newsletter()
    left = cast.make_reader(newsletter, state=UNSUBSCRIBED)
    waiting = cast.make_reader(newsletter, address=cast.BORIS, state=PENDING)
    there = cast.make_reader(newsletter, address=cast.CHLOE, name="Chloé", attributes={"city": "Paris"})
    bounced = cast.make_subscriber(newsletter.publisher, address=cast.DMITRI)
    suppress(newsletter.publisher_id, bytes(bounced.address_digest), SuppressionReason.BOUNCED)
    bounced.delete()
    elsewhere = cast.make_reader(cast.make_newsletter(newsletter.publisher), address=cast.FARAI, state=UNSUBSCRIBED)
    before = ConsentEvent.objects.count()

    rows = "".join(f"{reader.address},New,Rome\n" for reader in (left.subscriber, there.subscriber, bounced))
    rows += f"{cast.BORIS},,\n{cast.FARAI},,\n{cast.DMITRI},,\n"
    finished = run(accept("email,name,city\n" + rows, newsletter))

    assert counts(finished) == {"added": 1, "already_present": 2, "refused": 2, "duplicates": 1}
    for subscription, state in ((left, UNSUBSCRIBED), (waiting, PENDING), (there, ACTIVE), (elsewhere, UNSUBSCRIBED)):
        subscription.refresh_from_db()
        assert subscription.state == state
    assert Subscription.objects.get(newsletter=newsletter, subscriber=elsewhere.subscriber).state == ACTIVE
    assert not Subscriber.objects.filter(address=cast.DMITRI).exists()
    there.subscriber.refresh_from_db()
    assert (there.subscriber.name, there.subscriber.attributes) == ("Chloé", {"city": "Paris"})
    assert ConsentEvent.objects.count() == before + 1


def test_the_same_file_twice_adds_nobody_the_second_time() -> None:
    newsletter = cast.make_newsletter()
    assert counts(run(accept("email,name\n" + many(10), newsletter))) == {"added": 10}
    assert counts(run(accept("email,name\n" + many(12), newsletter))) == {"added": 2, "already_present": 10}


class KilledError(BaseException):
    """Stands for a worker that is gone from one instruction to the next."""


@pytest.mark.parametrize("moment", ["before", "inside", "after"])
def test_a_worker_killed_at_any_chunk_changes_no_count(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 10)
    newsletter = cast.make_newsletter()
    cast.make_reader(newsletter, address="reader-3@example.org")
    # Duplicates within a chunk, across chunks, of a reader who was there, and a bad row in each chunk.
    content = "email,name\n" + (many(8) + "nobody,\n" + "reader-3@example.org,again\n") * 2 + many(30)
    accepted = accept(content, newsletter)
    commit, store = Chunk.commit, Chunk._store
    calls = 0

    def die_every_second_time() -> None:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise KilledError

    def dying_commit(self: Chunk, *arguments: Any) -> None:
        if moment == "before":
            die_every_second_time()
        commit(self, *arguments)
        if moment == "after":
            die_every_second_time()

    def dying_inside(self: Chunk) -> Any:
        outcome = store(self)
        if moment == "inside":
            die_every_second_time()
        return outcome

    monkeypatch.setattr(Chunk, "commit", dying_commit)
    monkeypatch.setattr(Chunk, "_store", dying_inside)
    deaths = 0
    while accepted.state != "done":
        try:
            run(accepted)
        except KilledError:
            deaths += 1
            assert importing.due_ids(10) == []
            Import.objects.update(lease_until=None)
        accepted.refresh_from_db()
    assert deaths >= 2
    assert accepted.total == 50
    assert counts(accepted) == {"added": 29, "already_present": 1, "duplicates": 18, "invalid": 2}
    assert Subscription.objects.count() == Subscriber.objects.count() == ConsentEvent.objects.count() == 30
    assert errors(accepted) == [(10, "invalid_address"), (20, "invalid_address")]


def test_a_long_import_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 10)
    monkeypatch.setattr(importing, "SLICE_SECONDS", -1)
    monkeypatch.setattr(importing, "RENEW_ROWS", 3)
    accepted = accept("email,name\n" + many(25))
    for cursor in (10, 20, 25):
        assert importing.due_ids(10) == [accepted.pk]
        assert run(accepted).cursor == cursor
    assert (accepted.state, counts(accepted)) == ("done", {"added": 25})
    assert importing.due_ids(10) == []
    assert counts(run(accepted)) == {"added": 25}


def test_a_stored_file_is_read_across_the_borders_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PART_BYTES", 7)
    accepted = accept("email,name\r\nada@ünï.de,Zoë\r\nboris@example.org,Борис\r\n")
    assert ImportPart.objects.count() > 5
    assert counts(run(accepted)) == {"added": 2}
    assert set(Subscriber.objects.values_list("name", flat=True)) == {"Zoë", "Борис"}


def test_a_worker_that_lost_its_lease_does_not_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = accept("email,name\n" + many(5))
    parse = import_chunk._parse

    def overtaken(*arguments: Any) -> import_sql.NewReader:
        monkeypatch.setattr(import_chunk, "_parse", parse)
        Import.objects.update(lease_until=None)
        importing.run(accepted.pk)
        return parse(*arguments)

    monkeypatch.setattr(import_chunk, "_parse", overtaken)
    assert counts(run(accepted)) == {"added": 5}
    assert accepted.state == "done"


def test_an_import_into_a_deleted_newsletter_fails() -> None:
    newsletter = cast.make_newsletter()
    accepted = accept("email,name\n" + many(5), newsletter)
    newsletter.deleted_at = newsletter.created_at
    newsletter.save()
    assert run(accepted).state == "failed"
    assert "deleted" in accepted.failure
    assert not ImportPart.objects.exists()
    assert not Subscriber.objects.exists()


def test_a_stored_file_that_turns_out_broken_fails_with_the_reason() -> None:
    accepted = accept("email,name\n" + many(5))
    ImportPart.objects.update(data=b'email,name\n"ada')
    assert run(accepted).state == "failed"
    assert "quotation mark" in accepted.failure


@pytest.mark.django_db(transaction=True)
def test_two_imports_at_once_end_in_the_union_of_their_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK_ROWS", 50)
    newsletter = cast.make_newsletter()
    first = accept("email,name\n" + many(400), newsletter)
    second = accept("email,name\n" + "".join(reversed(many(400, 200).splitlines(keepends=True))), newsletter)
    start, raised = threading.Barrier(4), list[BaseException]()

    def body(accepted: Import) -> None:
        try:
            start.wait()
            importing.run(accepted.pk)
        except CourantError as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=body, args=(each,)) for each in (first, second, first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.refresh_from_db()
    second.refresh_from_db()
    assert raised == []
    assert (first.state, second.state) == ("done", "done")
    assert first.added + second.added == Subscription.objects.count() == ConsentEvent.objects.count() == 600
    assert first.already_present + second.already_present == 200
    assert not ImportRowError.objects.exists()
