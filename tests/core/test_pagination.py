from __future__ import annotations

import base64

import hypothesis
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import Publisher
from core.errors import BadRequestError
from core.pagination import cut_page, make_cursor, open_cursor
from tests import cast

BINDING = "1 /api/v1/things {}"


def walk(*, limit: int, newest_first: bool, between: object = None) -> list[int]:
    seen: list[int] = []
    cursor = None
    while True:
        rows, cursor = cut_page(
            Publisher.objects.all(), binding=BINDING, cursor=cursor, limit=limit, newest_first=newest_first
        )
        seen += [row.pk for row in rows]
        if callable(between):
            between()
        if cursor is None:
            return seen


@pytest.mark.django_db
@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("limit", [1, 7, 20, 21, 200])
def test_walking_the_pages_meets_every_row_once_in_order(*, limit: int, newest_first: bool) -> None:
    made = [cast.make_publisher(f"P{number}").pk for number in range(20)]
    assert walk(limit=limit, newest_first=newest_first) == sorted(made, reverse=newest_first)


STEPS = st.lists(
    st.one_of(st.just("add"), st.integers(min_value=0, max_value=10_000).map(lambda place: f"remove {place}")),
    max_size=4,
)


@pytest.mark.django_db
@pytest.mark.dialects
@given(
    rows=st.integers(min_value=0, max_value=12),
    limit=st.integers(min_value=1, max_value=5),
    newest_first=st.booleans(),
    between=st.lists(STEPS, max_size=12),
)
@hypothesis.settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_that_come_and_go_make_no_other_row_skipped_or_repeated(
    rows: int, limit: int, between: list[list[str]], *, newest_first: bool
) -> None:
    with transaction.atomic():
        start = [cast.make_publisher(f"P{number}").pk for number in range(rows)]
        gone: set[int] = set()
        turns = iter(between)

        def disturb() -> None:
            for step in next(turns, []):
                there = list(Publisher.objects.order_by("pk").values_list("pk", flat=True))
                if step == "add":
                    cast.make_publisher("new")
                elif there:
                    pk = there[int(step.removeprefix("remove ")) % len(there)]
                    Publisher.objects.filter(pk=pk).delete()
                    gone.add(pk)

        seen = walk(limit=limit, newest_first=newest_first, between=disturb)
        assert seen == sorted(set(seen), reverse=newest_first)
        assert set(start) - gone <= set(seen)
        transaction.set_rollback(True)


def test_a_cursor_fits_its_own_list_only() -> None:
    cursor = make_cursor(42, BINDING)
    assert open_cursor(cursor, BINDING) == 42
    for other in ("2 /api/v1/things {}", "1 /api/v1/other {}", '1 /api/v1/things {"state":"sent"}'):
        with pytest.raises(BadRequestError, match="does not belong"):
            open_cursor(cursor, other)


def test_a_cursor_outlives_a_rotation_of_the_signing_keys(settings: Settings) -> None:
    old, new = "k" * 20 + "old-0123456789-0123456789", "n" * 20 + "new-0123456789-0123456789"
    settings.SIGNING_KEYS = (old,)
    cursor = make_cursor(42, BINDING)
    settings.SIGNING_KEYS = (new, old)
    assert open_cursor(cursor, BINDING) == 42
    settings.SIGNING_KEYS = (new,)
    with pytest.raises(BadRequestError):
        open_cursor(cursor, BINDING)


GENUINE = make_cursor(42, BINDING)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        GENUINE[:-1],
        GENUINE + "A",
        GENUINE + "=",
        GENUINE.swapcase(),
        "A" * 32,
        "é" * 32,
        "\0" * 32,
        "A" * 1_000_000,
        base64.urlsafe_b64encode(b"junk junk junk junk junk").decode(),
    ],
)
def test_a_cursor_that_we_did_not_make_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        open_cursor(text, BINDING)
    assert caught.value.code == "invalid_cursor"


@given(st.text())
def test_no_text_breaks_the_reading_of_cursors(text: str) -> None:
    with pytest.raises(BadRequestError):
        open_cursor(text, BINDING)
