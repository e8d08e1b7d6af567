"""What the doctor prints: a table for people, JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from newsletters.doctor.examination import worst
from newsletters.doctor.findings import Finding, Level

SCHEMA_VERSION = 1
EXIT_CODES = {Level.OK: 0, Level.WARNING: 1, Level.ERROR: 2}
COLOURS = {Level.OK: "32", Level.NOTE: "36", Level.WARNING: "33", Level.ERROR: "31"}
FAULTS = (Level.WARNING, Level.ERROR)
TITLES = {
    "configuration": "Configuration",
    "database": "Database",
    "migrations": "Migrations",
    "broker": "Broker",
    "work": "Workers and work",
    "mail": "Mail",
    "dns": "DNS",
}
_INDENT, _WIDTH = 12, 118


def exit_code(found: Sequence[Finding]) -> int:
    return EXIT_CODES[worst(found)]


def table(found: Sequence[Finding], *, quiet: bool, coloured: bool) -> str:
    """Return the findings grouped by subject, remedies indented below; `quiet` leaves out what is no fault."""
    shown = [finding for finding in found if finding.level in FAULTS or not quiet]
    if quiet and not shown:
        return ""
    lines: list[str] = []
    for subject in dict.fromkeys(finding.subject for finding in shown):
        lines.append(TITLES.get(subject, subject.capitalize()))
        for finding in shown:
            if finding.subject == subject:
                lines += _entry(finding, coloured=coloured)
        lines.append("")
    return "\n".join([*lines, _summary(found)])


def _entry(finding: Finding, *, coloured: bool) -> Iterator[str]:
    word = f"{finding.level:<8}"
    if coloured:
        word = f"\x1b[{COLOURS[finding.level]}m{word}\x1b[0m"
    # One line a finding, however long: programs such as grep see all of it.
    yield f"  {word}  {finding.seen}  [{finding.code}]"
    if finding.remedy:
        wrapped = textwrap.wrap(finding.remedy, _WIDTH - _INDENT - 3, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(wrapped):
            yield " " * _INDENT + ("-> " if number == 0 else "   ") + line


def _summary(found: Sequence[Finding]) -> str:
    counts = Counter(finding.level for finding in found)
    words = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}
    parts = [f"{counts[level]} {word}{'' if counts[level] == 1 else 's'}" for level, word in words.items()]
    return f"{', '.join(parts)}; {counts[Level.OK]} in order."


def as_json(found: Sequence[Finding], *, quiet: bool) -> str:
    """Return the findings in the schema that `manage.py doctor --help` describes."""
    counts = Counter(finding.level for finding in found)
    document: dict[str, Any] = {
        "version": SCHEMA_VERSION,
        "status": worst(found),
        "exit_code": exit_code(found),
        "counts": {level: counts[level] for level in Level},
        "findings": [_facts(finding) for finding in found if finding.level in FAULTS or not quiet],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _facts(finding: Finding) -> dict[str, str]:
    return {
        "subject": finding.subject,
        "code": finding.code,
        "level": finding.level,
        "seen": finding.seen,
        "remedy": finding.remedy,
    }
