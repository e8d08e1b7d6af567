"""`python -m tests.faults.mutation [NAME,NAME] [--no-check]`: break a copy of the tree in known ways and demand red.

A mutant is dead only when its scenario fails by an assertion that shows the promise broken. A time-out, a service that
did not start or a test that could not be collected is inconclusive. First every scenario is run on the unbroken copy,
where it must be green. Ends with 1 unless every mutant is dead.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.faults.mutants import MUTANTS, Mutant
from tests.services.environment import ROOT

RUN_SECONDS = 600
ALL_PASSED, TESTS_FAILED = 0, 1
GREEN, RED, SURVIVED, INCONCLUSIVE = "green", "red", "SURVIVED", "INCONCLUSIVE"
# What pytest writes of a failed `assert`; any other exception did not get as far as a verdict.
ASSERTION = re.compile(r"(AssertionError\b|assert )")


@dataclass(frozen=True)
class Result:
    """What became of one run. `said` is the failure's message, in full."""

    verdict: str
    seconds: float
    said: str = ""


def copy_tree(folder: Path) -> None:
    """Copy what belongs to the project, and link to its installed packages."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    (folder / ".venv").symlink_to((ROOT / ".venv").resolve())


def run(folder: Path, scenario: str, *, sign: str = "") -> Result:
    """Run one test in the copy. `sign` is what the message of a failed assertion must match to count as red."""
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", scenario]
    # Stale byte code of one mutant must not answer for the next.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "COURANT_TEST_DATABASE": "postgresql"}
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        pytest = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            code = pytest.wait(RUN_SECONDS)
        except BaseException as error:
            # As Ctrl-C does: pytest ends its servers.
            pytest.send_signal(signal.SIGINT)
            pytest.wait(60)
            if isinstance(error, subprocess.TimeoutExpired):
                return Result(INCONCLUSIVE, RUN_SECONDS, f"still running after {RUN_SECONDS} s")
            raise
        output.seek(0)
        verdict, said = judge(code, report, output.read(), sign=sign)
    return Result(verdict, time.monotonic() - began, said)


def judge(code: int, report: Path, output: str, *, sign: str) -> tuple[str, str]:
    """Tell a failed assertion from everything else that makes pytest end badly; returns the verdict and the message."""
    if code == ALL_PASSED:
        return GREEN, ""
    if code != TESTS_FAILED or not report.exists():
        return INCONCLUSIVE, f"pytest ended with {code}\n{output[-2000:]}"
    cases = ElementTree.parse(report).getroot().iter("testcase")  # noqa: S314  # pytest has just written it
    troubles = [trouble for case in cases for trouble in case if trouble.tag in ("failure", "error")]
    for trouble in troubles:
        said = trouble.get("message", "")
        if trouble.tag == "error" or not ASSERTION.match(said):
            return INCONCLUSIVE, f"{said}\n{output[-2000:]}"
        if not re.search(sign, said):
            return INCONCLUSIVE, f"the assertion does not show what was to be shown, {sign!r}:\n{said}"
    return (RED, troubles[0].get("message", "")) if troubles else (INCONCLUSIVE, output[-2000:])


def try_mutant(folder: Path, mutant: Mutant) -> Result:
    """Break the copy, run the scenario and mend the copy again. Raises ValueError when there is nothing to break."""
    originals = {path: (folder / path).read_text(encoding="utf-8") for path in {edit.path for edit in mutant.edits}}
    try:
        for edit in mutant.edits:
            text = edit.apply((folder / edit.path).read_text(encoding="utf-8"))
            (folder / edit.path).write_text(text, encoding="utf-8")
        result = run(folder, mutant.scenario, sign=mutant.sign)
    finally:
        for path, text in originals.items():
            (folder / path).write_text(text, encoding="utf-8")
    return Result(SURVIVED, result.seconds) if result.verdict == GREEN else result


def check(folder: Path, scenarios: Sequence[str]) -> bool:
    """Run each scenario on the unbroken copy; True when all are green."""
    is_green = True
    for scenario in scenarios:
        result = run(folder, scenario)
        say(f"unbroken: {result.verdict} after {result.seconds:.0f} s: {scenario}\n{result.said}".rstrip())
        is_green &= result.verdict == GREEN
    return is_green


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Break a copy of the tree in known ways; each must be noticed.")
    parser.add_argument("names", nargs="?", default="", help="mutants, separated by commas; all of them if left out")
    parser.add_argument("--check", action=argparse.BooleanOptionalAction, default=True, help="is the copy green first?")
    options = parser.parse_args(arguments)
    names = {name for name in options.names.split(",") if name}
    if unknown := names - {mutant.name for mutant in MUTANTS}:
        parser.error(f"no such mutants: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory(prefix="courant-mutants-") as name:
        folder = Path(name)
        copy_tree(folder)
        is_green = not options.check or check(folder, list(dict.fromkeys(mutant.scenario for mutant in chosen)))
        for mutant in chosen:
            result = results[mutant.name] = try_mutant(folder, mutant)
            say(f"{mutant.name}: {result.verdict} after {result.seconds:.0f} s\n{result.said[:2000]}".rstrip())
    say("\n" + table(chosen, results))
    dead = sum(result.verdict == RED for result in results.values())
    say(f"\n{dead} of {len(chosen)} red" + ("" if is_green else "; a scenario is not green on the unbroken copy"))
    return 0 if is_green and dead == len(chosen) else 1


def table(mutants: Sequence[Mutant], results: dict[str, Result]) -> str:
    """Return a Markdown table with a line for each mutant."""
    lines = ["| mutant | the promise it breaks | scenario | verdict | seconds |", "|---|---|---|---|---|"]
    for mutant in mutants:
        result, scenario = results[mutant.name], mutant.scenario.rpartition("::test_")[2]
        lines.append(f"| {mutant.name} | {mutant.breaks} | {scenario} | {result.verdict} | {result.seconds:.0f} |")
    return "\n".join(lines)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
