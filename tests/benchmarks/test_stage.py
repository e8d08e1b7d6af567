"""What the benchmarks stand on: readers that the product takes for its own, a baseline of as many bytes, counts."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

import psycopg
import pytest
from django.db import connection

from benchmarks import processor
from benchmarks.mail import Mail
from benchmarks.seeding import add_readers
from benchmarks.tutorial import content_like, django_bytes
from newsletters.models import ConsentEvent, Subscriber, Subscription
from tests import cast

SAMPLE = (
    b"""\
From: "The Gazette" <news@gazette.example>
To: ada@example.org
Subject: What happened
Content-Type: multipart/alternative; boundary="-"

---
Content-Type: text/plain; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

Dear Ada, caf=C3=A9 costs=
 2.
---
Content-Type: text/html; charset="utf-8"
Content-Transfer-Encoding: quoted-printable

<p>Dear Ada</p>
-----
""".replace(b"\n", b"\r\n")
    + b"x" * 2_000
)


@pytest.fixture
def own_connection(transactional_db: None) -> psycopg.Connection:
    parameters = connection.get_connection_params()
    names = ("host", "port", "user", "password", "dbname")
    return psycopg.connect(**{name: parameters[name] for name in names if name in parameters}, autocommit=True)


def domains() -> Counter[str]:
    return Counter(address.partition("@")[2] for address in Subscriber.objects.values_list("address", flat=True))


def test_readers_are_active_agree_with_the_log_and_leave_room_for_others(
    own_connection: psycopg.Connection,
) -> None:
    newsletter = cast.make_newsletter()
    with own_connection:
        add_readers(own_connection, newsletter.pk, readers=1000, prefix="first")
        add_readers(own_connection, newsletter.pk, readers=10, prefix="second")
    assert Subscription.objects.filter(newsletter=newsletter, state="active").count() == 1010
    logged = ConsentEvent.objects.filter(state="active").values_list("subscription_id", flat=True)
    assert set(logged) == set(Subscription.objects.values_list("pk", flat=True))
    owners = Subscription.objects.filter(subscriber__publisher=newsletter.publisher, subscriber__name="Reader 7")
    assert sorted(owners.values_list("subscriber__address", flat=True)) == [
        "first-7@d7.example.net",
        "second-7@d7.example.net",
    ]
    cast.make_reader(newsletter, address=cast.ADA)


def test_readers_are_spread_over_many_domains(own_connection: psycopg.Connection) -> None:
    with own_connection:
        add_readers(own_connection, cast.make_newsletter().pk, readers=1000, prefix="reader")
    assert set(domains().values()) == {2}


def test_half_of_an_uneven_list_is_at_two_domains(own_connection: psycopg.Connection) -> None:
    with own_connection:
        add_readers(own_connection, cast.make_newsletter().pk, readers=1000, prefix="reader", uneven=True)
    found = domains()
    assert found["largest.example.org"] == 300
    assert found["second.example.org"] == 200
    assert len(found) > 200


def test_a_tarpit_changes_nothing_in_the_mix_of_the_others(own_connection: psycopg.Connection) -> None:
    with own_connection:
        add_readers(own_connection, cast.make_newsletter().pk, readers=1250, prefix="reader", tarpit="slow.example.com")
    found = domains()
    assert found.pop("slow.example.com") == 250
    assert set(found.values()) == {2}


def test_the_baseline_sends_as_many_bytes() -> None:
    mail = Mail(
        size=len(SAMPLE), sample=SAMPLE, sender="b@gazette.example", address=cast.ADA, name="Ada", connections=64
    )
    content = content_like(mail)
    assert "café" in content["text"]
    assert "<p>Dear Ada</p>" in content["html"]
    assert abs(django_bytes(content) / len(SAMPLE) - 1) < 0.01


def test_processor_time_includes_children_that_have_ended() -> None:
    watch = processor.Stopwatch({"own": os.getpid()})
    subprocess.run(["python3", "-c", "sum(range(5_000_000))"], check=True)
    assert watch.used()["own"] > 0


def test_a_tree_has_the_process_and_its_children() -> None:
    with subprocess.Popen(["sleep", "30"]) as child:
        try:
            assert {os.getpid(), child.pid} <= processor.tree(os.getpid())
            assert processor.tree(child.pid) == {child.pid}
            assert processor.peak_memory_mb(child.pid) > 0
        finally:
            child.kill()
