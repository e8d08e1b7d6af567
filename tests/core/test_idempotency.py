from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.db.models.functions import Now

from accounts.models import Publisher
from core.errors import BadRequestError, ConflictError, InvalidError
from core.idempotency import KEPT_FOR, Answer, check_key, fingerprint, forget_old, run_once
from core.models import IdempotencyRecord

REQUEST = fingerprint("POST /api/v1/things", b"{}")


def effect() -> Answer:
    publisher = Publisher.objects.create(name="made")
    return Answer(status=202, body=str(publisher.pk).encode())


@pytest.mark.django_db
def test_a_repeated_request_gets_the_first_answer_and_no_second_effect() -> None:
    first = run_once("key_a", "k1", REQUEST, effect)
    again = run_once("key_a", "k1", REQUEST, effect)
    assert (again.status, again.body, first.replayed, again.replayed) == (202, first.body, False, True)
    assert Publisher.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "other", [fingerprint("POST /api/v1/things", b'{"a":1}'), fingerprint("POST /api/v1/others", b"{}")]
)
def test_a_key_used_for_another_request_is_refused(other: bytes) -> None:
    run_once("key_a", "k1", REQUEST, effect)
    with pytest.raises(InvalidError) as caught:
        run_once("key_a", "k1", other, effect)
    assert caught.value.code == "idempotency_key_reused"
    assert Publisher.objects.count() == 1


@pytest.mark.django_db
def test_two_callers_may_use_the_same_key() -> None:
    assert not run_once("key_a", "k1", REQUEST, effect).replayed
    assert not run_once("key_b", "k1", REQUEST, effect).replayed
    assert Publisher.objects.count() == 2


@pytest.mark.django_db
def test_a_failure_keeps_nothing_so_that_a_retry_may_succeed() -> None:
    def failing() -> Answer:
        effect()
        raise ConflictError("not_now", "Not now.")

    with pytest.raises(ConflictError):
        run_once("key_a", "k1", REQUEST, failing)
    assert (Publisher.objects.count(), IdempotencyRecord.objects.count()) == (0, 0)
    assert not run_once("key_a", "k1", REQUEST, effect).replayed


@pytest.mark.django_db
def test_an_answer_is_kept_for_48_hours() -> None:
    run_once("key_a", "k1", REQUEST, effect)
    assert forget_old() == 0
    IdempotencyRecord.objects.update(created_at=Now() - KEPT_FOR * 1.01)
    assert not run_once("key_a", "k1", REQUEST, effect).replayed
    IdempotencyRecord.objects.update(created_at=Now() - KEPT_FOR * 1.01)
    assert forget_old() == 1
    assert not IdempotencyRecord.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\0b", "clé", "a\x7f"])
def test_a_key_that_no_header_should_carry_is_refused(key: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        check_key(key)
    assert caught.value.code == "invalid_idempotency_key"


def test_a_missing_key_is_asked_for() -> None:
    with pytest.raises(BadRequestError) as caught:
        check_key(None)
    assert caught.value.code == "idempotency_key_required"


@pytest.mark.django_db(transaction=True)
def test_of_50_parallel_identical_requests_one_has_the_effect_and_all_get_its_answer() -> None:
    count = 50
    gate = threading.Barrier(count)

    def request(_number: int) -> Answer:
        try:
            gate.wait(timeout=120)
            return run_once("key_a", "k1", REQUEST, effect)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(request, range(count)))
    made = Publisher.objects.get()
    assert {answer.body for answer in answers} == {str(made.pk).encode()}
    assert [answer.replayed for answer in answers].count(False) == 1
