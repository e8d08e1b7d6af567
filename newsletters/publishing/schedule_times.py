"""When to send: reading a time as an editor means it."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime

from core.errors import InvalidError, invalid_field

_FORM = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d:[0-5]\d)?", re.ASCII)


def read_send_at(text: str, time_zone: str) -> datetime:
    """Return the moment (UTC) that a text such as 2026-12-24T08:00 means; without an offset, in `time_zone`.

    An hour that occurs twice when clocks go back is the first. Raises InvalidError at "/send_at":
    `invalid_time`, and `time_does_not_exist` for one that is skipped when clocks go forward.
    """
    if not _FORM.fullmatch(text):
        raise _wrong("invalid_time", "Write a time such as 2026-12-24T08:00 or 2026-12-24T08:00:00+01:00.")
    try:
        given = datetime.fromisoformat(text.upper())
        return _in_zone(given, time_zone) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _wrong("invalid_time", "There is no such date or time.") from error


def _in_zone(naive: datetime, time_zone: str) -> datetime:
    moment = naive.replace(tzinfo=zoneinfo.ZoneInfo(time_zone)).astimezone(UTC)
    if moment.astimezone(zoneinfo.ZoneInfo(time_zone)).replace(tzinfo=None) != naive:
        raise _wrong("time_does_not_exist", f"The clocks in {time_zone} skip that time.")
    return moment


def _wrong(code: str, detail: str) -> InvalidError:
    return invalid_field("/send_at", code, detail)
