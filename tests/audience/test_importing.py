from __future__ import annotations

import io

import pytest

from core.errors import InvalidError
from core.tokens import address_digest
from newsletters.audience import import_upload, importing
from newsletters.audience.suppressing import suppress
from newsletters.models import (
    ConsentEvent,
    ImportPart,
    Notice,
    Subscriber,
    Subscription,
    SubscriptionState,
    SuppressionReason,
)
from tests import cast
from tests.audience.acts import accept, counts, errors, many, run

pytestmark = pytest.mark.django_db
ACTIVE, UNSUBSCRIBED, PENDING = SubscriptionState.ACTIVE, SubscriptionState.UNSUBSCRIBED, SubscriptionState.PENDING


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


def test_parts_of_any_size_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    content = "email;name;city\r\n" + "".join(
        f'reader-{number * 7 % 40}@example.org;"Reader\u2028{number}";"a\nb {number}"\r\n'
        if number % 9 == 4
        else f'Reader-{number * 7 % 40}@EXAMPLE.org;Reader {number};"Köln; {number}"\r\n\r\n'
        for number in range(100)
    )
    outcomes = []
    for rows, characters in ((1_000, 1_000_000), (1, 1_000_000), (3, 1_000_000), (40, 1_000_000), (1_000, 100)):
        monkeypatch.setattr(import_upload, "PART_ROWS", rows)
        monkeypatch.setattr(import_upload, "PART_CHARACTERS", characters)
        newsletter = cast.make_newsletter()
        cast.make_reader(newsletter, address="reader-7@example.org", name="Here before")
        cast.make_reader(newsletter, address="reader-14@example.org", name="Left", state=UNSUBSCRIBED)
        suppress(newsletter.publisher_id, address_digest("reader-21@example.org"), SuppressionReason.COMPLAINED)
        finished = run(accept(content, newsletter))
        readers = Subscriber.objects.filter(publisher=newsletter.publisher).order_by("address_key")
        outcomes.append((counts(finished), errors(finished), [*readers.values_list("address", "name", "attributes")]))
    assert sum(outcomes[0][0].values()) == 100
    assert {"added", "already_present", "refused", "duplicates", "invalid"} <= outcomes[0][0].keys()
    assert outcomes[1:] == outcomes[:1] * 4


def test_of_two_rows_with_one_address_the_first_is_taken_however_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 10)
    monkeypatch.setattr(importing, "SLICE_SECONDS", -1)
    accepted = accept("email,name\nada@example.org,First\n" + many(25) + "ADA@example.org,Last\n")
    while run(accepted).state != "done":
        pass
    assert counts(accepted) == {"added": 26, "duplicates": 1}
    assert Subscriber.objects.get(address_key=cast.ADA).name == "First"


def test_a_stored_file_is_cut_between_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_CHARACTERS", 7)
    accepted = accept('\ufeffemail,name\r\nada@ünï.de,"Zoë\r\n, ""Z"""\r\n\r\nboris@example.org,Борис')
    parts = ImportPart.objects.order_by("position").values_list("position", "line", "data")
    assert [(position, line, bytes(data).decode()) for position, line, data in parts] == [
        (0, 2, 'email,name\r\nada@ünï.de,"Zoë\r\n, ""Z"""\r\n'),
        (1, 4, "email,name\r\n\r\nboris@example.org,Борис"),
    ]
    assert (counts(run(accepted)), errors(accepted)) == ({"added": 1, "invalid": 1}, [(2, "control_character")])


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


def test_a_stored_file_that_is_not_whole_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "PART_ROWS", 2)
    accepted = accept("email,name\n" + many(5))
    ImportPart.objects.filter(position=2).delete()
    assert (run(accepted).state, accepted.cursor) == ("failed", 2)
    assert "missing" in accepted.failure
