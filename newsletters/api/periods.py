"""Lists of what happened: cut to a period, or as a file."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, TypeVar

from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse
from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError, to_json

from newsletters.api.contract import ListQuery

M = TypeVar("M", bound=Model)
ROWS_AT_ONCE = 1_000
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
# A spreadsheet takes what begins so for a formula (ASVS 5.0, 1.2.10).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
FILE_ANSWER = {
    200: {
        "description": "The file. CSV has a header line, and an apostrophe before what a spreadsheet would calculate.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


def _moment(text: str) -> str:
    """Return a time of RFC 3339 as it came. Raises a field's error for any other text."""
    try:
        if _MOMENT.fullmatch(text):
            datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
            return text
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("invalid_time", "Must be a time with an offset, such as 2026-12-24T08:00:00Z")


Moment = Annotated[str, Field(max_length=40), AfterValidator(_moment)]
SINCE = "Only what happened then or later: RFC 3339 with an offset."
UNTIL = "Only what happened before."


class PeriodQuery(ListQuery):
    since: Moment | None = Field(default=None, description=SINCE)
    until: Moment | None = Field(default=None, description=UNTIL)


class ExportQuery(BaseModel):
    since: Moment | None = Field(default=None, description=SINCE)
    until: Moment | None = Field(default=None, description=UNTIL)
    format: Literal["csv", "ndjson"] = Field(default="csv", description="What the file is to be.")


def within(rows: QuerySet[M], query: PeriodQuery | ExportQuery) -> QuerySet[M]:
    """Keep the rows whose `at` lies in the period."""
    if query.since:
        rows = rows.filter(at__gte=datetime.datetime.fromisoformat(query.since))
    if query.until:
        rows = rows.filter(at__lt=datetime.datetime.fromisoformat(query.until))
    return rows


def export(
    rows: QuerySet[M], query: ExportQuery, shape: type[BaseModel], present: Callable[[M], BaseModel], *, name: str
) -> StreamingHttpResponse:
    """Return the rows of a period as a file that is read while it is sent, the oldest first.

    A line is what `present` makes of a row, with the fields of `shape`. What is added after the beginning is left out.
    """
    shown = (present(row) for row in _all_of(within(rows, query)))
    if query.format == "ndjson":
        lines: Iterator[bytes] = (to_json(one) + b"\n" for one in shown)
        media_type, ending = "application/x-ndjson", "ndjson"
    else:
        lines = _csv(list(shape.model_fields), shown)
        media_type, ending = "text/csv; charset=utf-8", "csv"
    response = StreamingHttpResponse(lines, content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{name}.{ending}"'
    return response


def _all_of(rows: QuerySet[M]) -> Iterator[M]:
    """Yield the rows in the order of their keys; no cursor is held open while a client reads slowly."""
    newest = rows.order_by("-pk").values_list("pk", flat=True).first()
    after = 0
    while newest is not None and after < newest:
        batch = list(rows.filter(pk__gt=after, pk__lte=newest).order_by("pk")[:ROWS_AT_ONCE])
        if not batch:
            return
        yield from batch
        after = batch[-1].pk


def _csv(fields: list[str], shown: Iterator[BaseModel]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(fields)
    for one in shown:
        writer.writerow([_cell(value) for value in one.model_dump(mode="json").values()])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = to_json(value).decode() if isinstance(value, dict | list) else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text
