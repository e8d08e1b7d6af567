from __future__ import annotations

import io
from typing import Any

import pytest

from core.errors import InvalidError, TooLargeError, UnsupportedMediaTypeError
from newsletters.audience import import_upload, importing
from newsletters.models import Import, Subscriber
from tests import cast
from tests.audience.acts import accept, counts, many, run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffemail,name\nada@example.org,Ada\n",
        "email;name\nada@example.org;Ada\n",
        "name\temail\nAda\tada@example.org\n",
        "EMAIL , Name\r\nada@example.org,Ada\r\n",
        "email,name\rada@example.org,Ada\r",
        'email,name\n\r\n"ada@example.org","Ada"\r\r\n',
        'email,name\nada@example.org,"Ada"',
        "\nemail,name\n\nada@example.org,Ada\n\n\n",
    ],
)
def test_every_common_way_of_writing_csv_is_read(content: str) -> None:
    finished = run(accept(content))
    assert (finished.total, counts(finished)) == (1, {"added": 1})
    assert list(Subscriber.objects.values_list("address", "name")) == [(cast.ADA, "Ada")]


@pytest.mark.parametrize("content", ["email", "email\n", "email,name\n\n"])
def test_a_file_with_only_a_header_is_an_import_of_nobody(content: str) -> None:
    finished = run(accept(content))
    assert (finished.state, finished.total, counts(finished)) == ("done", 0, {})


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        ("", "empty_file", 1),
        ("\n \n", "empty_file", 1),
        ("ada@example.org,Ada\nboris@example.org,Boris\n", "missing_email_column", 1),
        ("name,city\nAda,London\n", "missing_email_column", 1),
        ("email,email\na@b.co,a@b.co\n", "duplicate_column", 1),
        ("email,First Name,first-name\n", "duplicate_column", 1),
        ("email,\n", "invalid_column_name", 1),
        ("email,2nd\n", "invalid_column_name", 1),
        ("email," + ",".join(f"c{number}" for number in range(64)) + "\n", "too_many_columns", 1),
        ("email\na@b.co\n" + "," * 64 + "\n", "too_many_columns", 3),
        ('email,name\n"a@b.co,Ada\nc@d.co,Boris\n', "unclosed_quote", 2),
        ('email,name\n"a@b.co,Ada\n' + many(20_000), "unclosed_quote", 2),
        ('email,name\na@b.co,Ada\nc@d.co,"Boris\n"e@f.co",Chloe\n', "unclosed_quote", 3),
        ('email,name\na@b.co,"Ada "the" Countess"\n', "stray_quote", 2),
        ("email,name\na@b.co," + "x" * 1_025 + "\n", "field_too_long", 2),
        ("email,name\na@b.co," + "x" * 200_000 + "\n", "line_too_long", 2),
        ("email,name\na@b.co,A\x00da\n", "nul_character", 2),
        ("email,name\nada@example.org,Zoë\n".encode("latin-1"), "not_utf8", 2),
        (("email,name\r\n" + "ok@b.co,x\r\n" * 200_000).encode() + b"\xff@b.co,y\r\n", "not_utf8", 200_002),
        ("email,name\na@b.co,Ada\n".encode("utf-16"), "not_utf8", 1),
        (b"email,name\na@b.co,\xc3", "not_utf8", 2),
        (b"email,name\na@b.co,\xc0\xaf\n", "not_utf8", 2),
        (b"email,name\na@b.co,\xed\xa0\x80\n", "not_utf8", 2),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_refused_with_the_line(
    content: str | bytes, code: str, line: int
) -> None:
    with pytest.raises(InvalidError) as caught:
        accept(content)
    assert (caught.value.code, caught.value.errors[0].line) == (code, line)
    assert f"Line {line}:" in caught.value.detail
    assert not Import.objects.exists()


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x1f\x8b\x08", b"\x89PNG\r\n", b"%PDF-1.7", b"\xd0\xcf\x11\xe0"])
def test_an_archive_or_an_image_is_no_csv_file(magic: bytes) -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        accept(magic + b"email\na@b.co\n")
    assert caught.value.code == "import_not_csv"


def test_a_file_that_is_too_big_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_upload, "MAX_ROWS", 10)
    assert accept("email,name\n" + many(10)).total == 10
    with pytest.raises(TooLargeError) as caught:
        accept("email,name\n" + many(11))
    assert caught.value.code == "import_too_large"

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            return b"x" * size

    endless: Any = Endless()
    with pytest.raises(TooLargeError):
        importing.accept(cast.make_newsletter(), endless, consent_source="a test")
    assert endless.given <= import_upload.MAX_BYTES + 2 * import_upload.BLOCK_BYTES
    assert Import.objects.count() == 1
