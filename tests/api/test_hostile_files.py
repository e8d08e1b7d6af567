"""Files that are no list of readers, by the rows of the list of hostile inputs (C): refused, 0 readers."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from newsletters.audience import csv_file, import_upload
from newsletters.models import Import, Newsletter
from tests.api.fixtures import Api, ask, code_of, row_counts

pytestmark = pytest.mark.django_db
GOOD = b"email,name\nada@example.org,Ada\n"


def zipped() -> bytes:
    folder = io.BytesIO()
    with zipfile.ZipFile(folder, "w") as archive:
        archive.writestr("readers.csv", GOOD)
    return folder.getvalue()


@pytest.fixture
def send(api: Api, newsletter: Newsletter) -> Callable[..., Any]:
    def give(raw: bytes, content_type: str = "text/csv", **headers: str) -> Any:
        path = f"/newsletters/{newsletter.uid}/imports?consent_source=form"
        return api.send("POST", path, raw=raw, content_type=content_type, **headers)

    return give


@pytest.mark.parametrize(
    ("raw", "status", "code", "line"),
    [
        pytest.param(b"\n\n\n", 422, "empty_file", 1, id="C1 blank"),
        pytest.param(b"ada@example.org,Ada\n", 422, "missing_email_column", 1, id="C1 no header"),
        pytest.param(GOOD.decode().encode("utf-16"), 422, "not_utf8", 1, id="C3 UTF-16"),
        pytest.param("email,name\na@b.co,Zoë\n".encode("latin-1"), 422, "not_utf8", 2, id="C3 Latin-1"),
        pytest.param(b"email\na@b.co\n\xff\n", 422, "not_utf8", 3, id="C3 broken UTF-8"),
        pytest.param(b'email,name\na@b.co,"x\n' + b"c@d.co,y\n" * 10_000, 422, "unclosed_quote", 2, id="C4 open quote"),
        pytest.param(b'email,name\na@b.co,"x\n', 422, "unclosed_quote", 2, id="C4 open at the end"),
        pytest.param(b'email,name\na@b.co,"x"y\n', 422, "stray_quote", 2, id="C4 stray quote"),
        pytest.param(b"email,name\na@b.co,x\0y\n", 422, "nul_character", 2, id="C6 NUL"),
        pytest.param(b"email," + b"a," * 200 + b"b\n", 422, "too_many_columns", 1, id="C8 columns"),
        pytest.param(b"email,name,name\n", 422, "duplicate_column", 1, id="two columns of a name"),
        pytest.param(b"email,name\na@b.co," + b"x" * 70_000 + b"\n", 422, "field_too_long", 2, id="a long field"),
        pytest.param(zipped(), 415, "import_not_csv", None, id="C12 archive"),
        pytest.param(gzip.compress(GOOD), 415, "import_not_csv", None, id="C12 gzip"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "import_not_csv", None, id="C12 picture"),
    ],
)
def test_a_file_that_is_no_list_is_refused(
    send: Callable[..., Any], raw: bytes, status: int, code: str, line: int | None
) -> None:
    before = row_counts()
    answer = send(raw)
    assert code_of(answer) == (status, code)
    assert [error.get("line") for error in json.loads(answer.content)["errors"]] == ([line] if line else [])
    assert row_counts() == before


@pytest.mark.parametrize(
    ("raw", "rows"),
    [
        pytest.param(b"email\n", 0, id="C1 header only"),
        pytest.param(codecs.BOM_UTF8 + GOOD, 1, id="C2 byte order mark"),
        pytest.param(b"email;name\nada@example.org;Ada\n", 1, id="C2 semicolons"),
        pytest.param(b"email\tname\nada@example.org\tAda\n", 1, id="C2 tabs"),
        pytest.param(b"email\rada@example.org\r", 1, id="C2 CR only"),
        pytest.param(b"email\r\nada@example.org\nboris@example.org\r\n", 2, id="C2 mixed"),
        pytest.param(b"email,name\nada@example.org\nb@c.co,B,more\n", 2, id="C8 ragged"),
        pytest.param(b"email\n" + b"ada@example.org\nADA@example.org\n" * 2, 4, id="C9 repeated"),
        pytest.param(b"email,name\na@b.co,=1+1\nb@b.co,+cmd\nc@b.co,@SUM\nd@b.co,'=x\n", 4, id="C15 formulas"),
    ],
)
def test_a_file_that_is_merely_unusual_is_read(send: Callable[..., Any], raw: bytes, rows: int) -> None:
    answer = send(raw)
    if answer.status_code == 422:
        # A separator that is none is refused with what is missing, never read as one column.
        assert code_of(answer)[1] in ("missing_email_column", "invalid_column_name")
        return
    assert ask(answer, 202)["total"] == rows


@pytest.mark.parametrize(
    "content_type", ["application/zip", "text/plain", "application/json", "multipart/form-data", ""]
)
def test_a_file_of_another_type_is_415(send: Callable[..., Any], content_type: str) -> None:
    assert code_of(send(GOOD, content_type)) == (415, "media_type_not_supported")
    assert Import.objects.count() == 0


def test_a_compressed_file_is_415(send: Callable[..., Any]) -> None:
    assert code_of(send(gzip.compress(GOOD), Content_Encoding="gzip")) == (415, "content_encoding_not_supported")


def test_a_file_beyond_the_limits_is_413(send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # C13: the limits are 50 MB and 1,000,000 rows; smaller ones show the same.
    before = row_counts()
    monkeypatch.setattr(import_upload, "MAX_ROWS", 3)
    assert code_of(send(b"email\n" + b"a@b.co\n" * 4)) == (413, "import_too_large")
    monkeypatch.setattr(import_upload, "MAX_BYTES", 100)
    assert code_of(send(b"email\n" + b"a@b.co\n" * 40)) == (413, "import_too_large")
    assert row_counts() == before


@pytest.mark.parametrize("raw", [b"\n" * 20 + GOOD, GOOD + b"\r" * 20, GOOD + b'b@c.co,"x"\n\n' * 20])
def test_blank_lines_without_end_are_413(send: Callable[..., Any], raw: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    before = row_counts()
    monkeypatch.setattr(csv_file, "MAX_LINES", 10)
    assert code_of(send(raw)) == (413, "import_too_large")
    assert row_counts() == before
