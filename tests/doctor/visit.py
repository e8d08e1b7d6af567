"""Call the doctor as an operator's script does, and look a finding up by its code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from newsletters.doctor.findings import Check, Finding, Level, Terms
from tests.services.environment import ROOT

# Far longer than it may take: that it ends in time is a test of its own.
PATIENCE_SECONDS = 300


def visit(environment: Mapping[str, str], *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `manage.py doctor` in an environment, changed by `variables`."""
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", *arguments],
        cwd=ROOT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def examined(environment: Mapping[str, str], *arguments: str, **variables: str) -> dict[str, Any]:
    """Return the doctor's JSON, whose `exit_code` is that of the process."""
    done = visit(environment, "--json", *arguments, **variables)
    assert "Traceback" not in done.stderr, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return document


def by_code(found: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.code: finding for finding in found}


def finding(document: Mapping[str, Any], code: str) -> dict[str, str]:
    """Return the one finding with this code."""
    codes = [one["code"] for one in document["findings"]]
    assert code in codes, document["findings"]
    return next(one for one in document["findings"] if one["code"] == code)


def fault(found: Iterable[Finding], code: str, level: Level) -> Finding:
    """Return the finding with this code, which must be of this level and name a remedy."""
    known = by_code(found)
    assert code in known, known
    assert known[code].level is level
    assert known[code].remedy
    return known[code]


def check_of(name: str, *findings: Finding, **terms: Any) -> Check:
    """Return a check that finds just these."""

    def look(_terms: Terms) -> Iterable[Finding]:
        return findings

    return Check(name, look, **terms)
