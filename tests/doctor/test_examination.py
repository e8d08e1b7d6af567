from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from newsletters.doctor import examination
from newsletters.doctor.examination import examine
from newsletters.doctor.findings import Check, Finding, Level, Terms, error, note, ok, quote, warning
from newsletters.doctor.report import as_json, exit_code, table
from tests.doctor.visit import by_code, check_of

FINE = ok("broker.fine", "It answers.")
HINT = note("broker.hint", "It could be newer.")
ODD = warning("mail.odd", "It is slow.", "Ask why.")
BAD = error("database.bad", "It is corrupt.", "RESTORE it;")


@pytest.mark.parametrize(
    ("found", "code"), [([], 0), ([FINE, HINT], 0), ([FINE, ODD], 1), ([ODD, BAD, HINT], 2), ([BAD], 2)]
)
def test_the_exit_code_is_that_of_the_worst_finding(found: list[Finding], code: int) -> None:
    assert exit_code(found) == code
    assert json.loads(as_json(found, quiet=True))["exit_code"] == code


def test_a_check_that_crashes_is_an_error_that_names_the_exception() -> None:
    def look(_terms: Terms) -> Iterator[Finding]:
        yield FINE
        raise ZeroDivisionError("the cause")

    [first, crashed, last] = examine([Check("broker.state", look), check_of("mail.relay", ODD)], Terms())
    assert (crashed.code, crashed.level) == ("broker.state_crashed", Level.ERROR)
    assert "ZeroDivisionError: the cause" in crashed.seen
    assert crashed.remedy
    # What it had found before is kept.
    assert (first, last) == (FINE, ODD)


def test_a_check_that_hangs_is_given_up_and_the_next_one_made() -> None:
    def look(_terms: Terms) -> list[Finding]:
        time.sleep(20)
        return []

    hanging = Check("broker.state", look, seconds=0.05, late=Level.ERROR)
    [given_up, last] = examine([hanging, check_of("mail.relay", ODD)], Terms())
    assert (given_up.code, given_up.level) == ("broker.gave_up", Level.ERROR)
    assert given_up.remedy
    assert last is ODD


def test_when_the_whole_time_is_over_the_rest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "WHOLE_SECONDS", 0.05)

    def look(_terms: Terms) -> list[Finding]:
        time.sleep(20)
        return [FINE]

    slow = Check("dns.settings", look, seconds=9)
    assert [one.code for one in examine([slow, slow], Terms())] == ["dns.gave_up", "dns.gave_up"]


@pytest.mark.parametrize(
    ("missing", "left_out"),
    [
        (error("database.unreachable", "It is down.", "Start it."), "durability, state, issues"),
        (error("migrations.pending", "One is.", "migrate"), "issues"),
    ],
)
def test_what_needs_what_is_missing_is_left_out_and_said_to_be(missing: Finding, left_out: str) -> None:
    def unwanted(_terms: Terms) -> list[Finding]:
        return [BAD]

    checks = [
        check_of("database.reach", missing),
        Check("work.durability", unwanted, needs_database=True),
        Check("work.state", unwanted, needs_database=True),
        Check("work.issues", unwanted, needs_schema=True),
    ]
    if missing.subject == "migrations":
        checks[1:3] = []
    found = by_code(examine(checks, Terms()))
    assert BAD.code not in found
    assert found["work.not_checked"].level is Level.NOTE
    assert f"Not checked: {left_out}. " in found["work.not_checked"].seen


def test_the_table_has_one_line_for_a_finding_and_its_remedy_below() -> None:
    lines = table([BAD, FINE, ODD], quiet=False, coloured=False).splitlines()
    assert lines[:3] == ["Database", "  error     It is corrupt.  [database.bad]", "            -> RESTORE it;"]
    assert lines[-1] == "1 error, 1 warning, 0 notes; 1 in order."


def test_quiet_prints_only_what_is_wrong_and_nothing_when_nothing_is() -> None:
    assert table([FINE, HINT], quiet=True, coloured=False) == ""
    assert "broker" not in table([FINE, HINT, ODD], quiet=True, coloured=False)
    document = json.loads(as_json([FINE, HINT, ODD], quiet=True))
    assert [one["code"] for one in document["findings"]] == ["mail.odd"]
    assert document["counts"] == {"ok": 1, "note": 1, "warning": 1, "error": 0}


def test_colours_are_for_terminals_only() -> None:
    assert not io.StringIO().isatty()
    assert "\x1b" not in table([BAD], quiet=False, coloured=False)
    assert "\x1b[31m" in table([BAD], quiet=False, coloured=True)


def test_the_schema_of_the_json_is_the_one_that_is_promised() -> None:
    document = json.loads(as_json([BAD], quiet=False))
    assert set(document) == {"version", "status", "exit_code", "counts", "findings"}
    assert (document["version"], document["status"]) == (1, "error")
    [one] = document["findings"]
    facts = {"subject": "database", "code": "database.bad", "level": "error"}
    assert one == facts | {"seen": "It is corrupt.", "remedy": "RESTORE it;"}


def test_other_people_s_words_come_without_our_secrets_and_control_characters(settings: Any) -> None:
    settings.BROKER_URL = "amqp://courant:s%40crete@mq.example.org/courant?password=another-one"
    settings.EMAIL_HOST_PASSWORD = "p@ss/word"
    said = f"{settings.SECRET_KEY} s%40crete s@crete p@ss/word p%40ss%2Fword another-one\x1b[31m\r\nend" + "x" * 999
    quoted = quote(said)
    assert quoted.startswith("[secret] [secret] [secret] [secret] [secret] [secret]?[31m end")
    assert len(quoted) == 300
