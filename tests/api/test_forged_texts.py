"""Ids and keys that nobody was given: refused as such, whatever they consist of."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts.keys import recognise
from core.errors import NotFoundError, UnauthenticatedError
from core.public_ids import decode
from core.tokens import InvalidTokenError, open_sealed_id, seal_id

BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_="
ANYTHING = st.one_of(st.text(), st.text(BASE64, max_size=48), st.text(BASE64, min_size=32, max_size=32))


@given(ANYTHING)
@example("\ud800")
def test_no_text_is_a_sealed_id_by_chance(text: str) -> None:
    with pytest.raises(InvalidTokenError):
        open_sealed_id("delivery", text)


@given(st.integers(1, 2**48 - 1))
def test_a_sealed_id_is_of_one_purpose(number: int) -> None:
    sealed = seal_id("delivery", number)
    assert open_sealed_id("delivery", sealed) == number
    with pytest.raises(InvalidTokenError):
        open_sealed_id("another", sealed)


@given(ANYTHING)
@example("nl_\ud800")
@example("nl_" + "9" * 5000)
def test_what_is_no_id_is_not_found(text: str) -> None:
    with pytest.raises(NotFoundError):
        decode("nl", text)


@pytest.mark.django_db
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANYTHING.map(lambda text: f"crnt_{text}"))
@example("crnt_\ud800")
@example("crnt_" + "a" * 8 + "_" + "b" * 43)
def test_no_text_is_a_key_by_chance(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        recognise(text)
