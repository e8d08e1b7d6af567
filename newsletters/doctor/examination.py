"""Run the checks one after the other, each within its own time, and never end in a traceback."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Sequence

from django.db import OperationalError, connection, connections, transaction

from newsletters.doctor.findings import Check, Finding, Level, Terms, error, note, quote

WHOLE_SECONDS = 58.0
# PostgreSQL's word for a statement that took too long (SQLSTATE 57014).
QUERY_CANCELED = "57014"
_NO_DATABASE = {"database.unreachable", "database.too_old", "database.gave_up", "database.reach_crashed"}
_NO_SCHEMA = {"migrations.pending", "migrations.inconsistent", "migrations.gave_up", "migrations.state_crashed"}


def examine(checks: Sequence[Check], terms: Terms) -> list[Finding]:
    """Return what all checks find, in their order.

    A check that needs what an earlier one found missing is left out with a note. One that is not done in time, or
    for which no time is left, is given up with a finding of its own.
    """
    deadline = time.monotonic() + WHOLE_SECONDS
    found: list[Finding] = []
    left_out: dict[tuple[str, str], list[str]] = {}
    for check in checks:
        obstacle = _obstacle(check, {finding.code for finding in found})
        if obstacle:
            subject, _, what = check.name.partition(".")
            left_out.setdefault((subject, obstacle), []).append(what.replace("_", " "))
        else:
            found += _within(check, terms, seconds=min(check.seconds, deadline - time.monotonic()))
    for (subject, obstacle), names in left_out.items():
        found.append(note(f"{subject}.not_checked", f"Not checked: {', '.join(names)}. {obstacle}"))
    return found


def _obstacle(check: Check, codes: set[str]) -> str:
    if (check.needs_database or check.needs_schema) and not codes.isdisjoint(_NO_DATABASE):
        return "The database cannot be used."
    if check.needs_schema and not codes.isdisjoint(_NO_SCHEMA):
        return "The tables are not those that this release expects."
    return ""


def _within(check: Check, terms: Terms, *, seconds: float) -> list[Finding]:
    """Run a check in a thread of its own; one that hangs is left behind, and ends with the process."""
    answers: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: answers.put(_look(check, terms)), name=check.name, daemon=True)
    thread.start()
    try:
        return answers.get(timeout=max(0.0, seconds))
    except queue.Empty:
        subject = check.name.partition(".")[0]
        return [Finding(f"{subject}.gave_up", check.late, _given_up(check, seconds), _REMEDIES.get(subject, ""))]


def _given_up(check: Check, seconds: float) -> str:
    return f"The check {check.name} had no answer after {max(0.0, seconds):.0f} s and was given up."


_REMEDIES = {
    "database": "See whether the server of DATABASE_URL is frozen, overloaded or behind a firewall that drops packets.",
    "broker": "See whether the server of BROKER_URL is frozen or behind a firewall that drops packets.",
    "mail": "See whether the relay of EMAIL_URL is frozen or behind a firewall that drops packets.",
    "dns": "Look at the name server, or name another one: --resolver 9.9.9.9",
    "work": "Try again when the database has less to do.",
}


def _look(check: Check, terms: Terms) -> list[Finding]:
    """Return what a check finds, with how it ended when it did not end well."""
    found: list[Finding] = []
    try:
        with _brief_statements(check):
            # One by one: what was found before a crash is kept.
            for finding in check.look(terms):
                found.append(finding)  # noqa: PERF402  # as above
    except OperationalError as failure:
        if getattr(failure.__cause__, "sqlstate", None) == QUERY_CANCELED:
            found.append(note(f"{check.name}_not_checked", "Not checked: the database took too long to answer."))
        else:
            found.append(_crashed(check, failure))
    except Exception as failure:  # noqa: BLE001  # a broken check must not hide what the others find
        found.append(_crashed(check, failure))
    finally:
        connections.close_all()
    return found


@contextlib.contextmanager
def _brief_statements(check: Check) -> Iterator[None]:
    """Give each statement on PostgreSQL a time limit of its own, and change nothing there."""
    if connection.vendor != "postgresql" or not (check.needs_database or check.needs_schema):
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(f"SET LOCAL statement_timeout = {round(check.seconds * 800)}")
        yield


def _crashed(check: Check, failure: Exception) -> Finding:
    return error(
        f"{check.name}_crashed",
        f"The check {check.name} ended with {type(failure).__name__}: {quote(failure)}",
        "Look for the cause in this message; when there is none, report it as a defect of Courant.",
    )


def worst(found: Sequence[Finding]) -> Level:
    """Return the worst level: `error`, `warning` or `ok`, since notes are no fault."""
    levels = {finding.level for finding in found}
    return next((level for level in (Level.ERROR, Level.WARNING) if level in levels), Level.OK)
