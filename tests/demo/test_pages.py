"""The caught mails' pages, and what the demonstration calls a shortfall."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from core.addresses import canonical
from newsletters.demo import maildir, sample
from newsletters.demo.steps import CaughtCount
from newsletters.demo.terminal import equation, shortfall
from newsletters.publishing.progress import Progress

MAIL = b"""Return-Path: <news@example.org>\r
Delivered-To: ada@example.org\r
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r
To: Ada <ada@example.org>\r
Date: Sat, 21 Nov 2026 02:00:00 +0000\r
List-Unsubscribe: <https://example.org/u/x>\r
MIME-Version: 1.0\r
Content-Type: multipart/alternative; boundary="b"\r
\r
--b\r
Content-Type: text/plain; charset=utf-8\r
\r
plain words\r
--b\r
Content-Type: text/html; charset=utf-8\r
\r
<p>html words</p><script>alert(1)</script>\r
--b--\r
"""
NAME = "01795228111836964425.000032"
ACCOUNTED = Progress(
    state="sent",
    audience=3,
    queued=0,
    sending=0,
    sent=3,
    bounced=0,
    expired=0,
    suppressed=0,
    cancelled=0,
    held=0,
    uncertain=0,
    fan_out_complete=True,
    accounted=True,
    rate_per_second=1.0,
    eta_seconds=None,
    started_at=None,
    finished_at=None,
    archived_at=None,
)


@pytest.fixture
def caught(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DEBUG = True
    monkeypatch.setattr(maildir, "folder", lambda: tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / NAME).write_bytes(MAIL)


@pytest.mark.usefixtures("caught")
def test_the_list_shows_and_finds_mails(client: Client) -> None:
    for query in ("", "?q=ADA@", "?q=gr%C3%BC"):
        assert "Grüße" in client.get(f"/mail/{query}").content.decode()
    assert "No mail matches" in client.get("/mail/?q=boris").content.decode()


@pytest.mark.usefixtures("caught")
def test_a_mail_is_shown_with_its_text_and_headers(client: Client) -> None:
    page = client.get(f"/mail/{NAME}/").content.decode()
    assert "plain words" in page
    assert "List-Unsubscribe" in page
    assert "html words" not in page


@pytest.mark.usefixtures("caught")
def test_the_html_part_is_served_in_a_sandbox(client: Client) -> None:
    answer = client.get(f"/mail/{NAME}/html/")
    assert "html words" in answer.content.decode()
    assert answer["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.usefixtures("caught")
@pytest.mark.parametrize("name", ["x", "01795228111836964425.000033", "..", "%2e%2e%2fcourant.sqlite3"])
def test_an_unknown_name_is_not_found(client: Client, name: str) -> None:
    assert client.get(f"/mail/{name}/").status_code == 404
    assert client.get(f"/mail/{name}/html/").status_code == 404


@pytest.mark.usefixtures("caught")
@pytest.mark.parametrize("page", ["0", "-1", "x", "9" * 400])
def test_a_strange_page_number_is_answered(client: Client, page: str) -> None:
    assert client.get(f"/mail/?page={page}").status_code == 200


@pytest.mark.usefixtures("caught")
def test_there_are_no_pages_without_debug(client: Client, settings: Settings) -> None:
    settings.DEBUG = False
    for path in ("/mail/", f"/mail/{NAME}/", f"/mail/{NAME}/html/"):
        assert client.get(path).status_code == 404


def test_the_sample_readers_are_a_thousand_valid_and_distinct_addresses(settings: Settings) -> None:
    settings.ALLOW_TEST_ADDRESSES = True
    rows = list(csv.DictReader(io.StringIO(sample.readers_csv().decode())))
    assert len({canonical(row["email"]).key for row in rows}) == 1000
    assert any("," in row["name"] for row in rows)
    assert any(not row["email"].isascii() for row in rows)


def test_the_equation_names_only_states_with_somebody_in_them() -> None:
    assert equation(replace(ACCOUNTED, sent=2, held=1)) == "3 readers = 2 sent + 1 held"


@pytest.mark.parametrize(
    ("progress", "caught_count"),
    [
        (replace(ACCOUNTED, accounted=False), CaughtCount(3, 3)),
        (replace(ACCOUNTED, sent=2, queued=1), CaughtCount(3, 3)),
        (replace(ACCOUNTED, sent=2, bounced=1), CaughtCount(2, 2)),
        (ACCOUNTED, CaughtCount(2, 2)),
        (ACCOUNTED, CaughtCount(4, 4)),
        (ACCOUNTED, CaughtCount(4, 3)),
        (replace(ACCOUNTED, uncertain=1), CaughtCount(5, 3)),
    ],
)
def test_whatever_does_not_add_up_is_a_shortfall(progress: Progress, caught_count: CaughtCount) -> None:
    assert shortfall(progress, caught_count)


def test_everybody_caught_once_is_no_shortfall_and_one_copy_of_an_uncertain_mail_neither() -> None:
    assert shortfall(ACCOUNTED, CaughtCount(3, 3)) == ""
    assert shortfall(replace(ACCOUNTED, uncertain=1), CaughtCount(4, 3)) == ""
