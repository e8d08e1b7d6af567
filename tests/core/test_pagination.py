from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
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


@pytest.mark.django_db
@pytest.mark.parametrize("newest_first", [True, False])
def test_rows_that_come_and_go_make_no_other_row_skipped_or_repeated(*, newest_first: bool) -> None:
    kept = [cast.make_publisher(f"kept {number}").pk for number in range(12)]
    gone = [cast.make_publisher(f"gone {number}").pk for number in range(12)]
    dice = random.Random(7)  # noqa: S311  # a repeatable walk, no secret

    def disturb() -> None:
        cast.make_publisher("new")
        Publisher.objects.filter(pk=gone.pop(dice.randrange(len(gone)))).delete()

    seen = walk(limit=5, newest_first=newest_first, between=lambda: disturb() if len(gone) > 4 else None)
    assert len(seen) == len(set(seen))
    assert set(kept) <= set(seen)


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
