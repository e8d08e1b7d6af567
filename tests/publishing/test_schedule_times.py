from __future__ import annotations

import pytest

from core.errors import InvalidError
from newsletters.publishing.schedule_times import read_send_at


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-12-24T08:00", "UTC", "2026-12-24T08:00:00+00:00"),
        ("2026-12-24T08:00", "Europe/Berlin", "2026-12-24T07:00:00+00:00"),
        ("2026-06-24 08:00:30.5", "Europe/Berlin", "2026-06-24T06:00:30.500000+00:00"),
        ("2026-12-24T08:00:00z", "Europe/Berlin", "2026-12-24T08:00:00+00:00"),
        ("2026-12-24T08:00:00-05:00", "Europe/Berlin", "2026-12-24T13:00:00+00:00"),
        # The clocks go back at 03:00: 02:30 happens twice, the first is meant.
        ("2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00+00:00"),
        ("0001-01-01T00:00:00Z", "UTC", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_a_time_is_read_as_an_editor_means_it(text: str, zone: str, moment: str) -> None:
    assert read_send_at(text, zone).isoformat() == moment


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-03-29T02:30", "time_does_not_exist"),
        ("2026-02-30T08:00", "invalid_time"),
        ("0000-00-00T00:00", "invalid_time"),
        ("9999-12-31T23:59:60Z", "invalid_time"),
        ("0001-01-01T00:00:00+14:00", "invalid_time"),
        ("0001-01-01T00:00:00", "invalid_time"),
        ("9999-12-31T23:59:59-14:00", "invalid_time"),
        ("2026-12-24", "invalid_time"),
        ("2026-12-24T08:00+25:00", "invalid_time"),
        ("2026-12-24T08:00+00:60", "invalid_time"),
        ("२०२६-12-24T08:00", "invalid_time"),
        ("2026-12-24T08:00\n", "invalid_time"),
    ],
)
def test_a_time_that_never_is_is_refused(text: str, code: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_send_at(text, "Europe/Berlin")
    assert caught.value.code == code
    assert [error.pointer for error in caught.value.errors] == ["/send_at"]
