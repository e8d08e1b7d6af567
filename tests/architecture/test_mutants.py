from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.mutants import MUTANTS, Edit, Mutant
from tests.faults.mutation import INCONCLUSIVE, RED, judge
from tests.services.environment import ROOT

EACH = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
REPORT = '<testsuites><testsuite><testcase name="a"><{tag} message="{said}"/></testcase></testsuite></testsuites>'


@EACH
def test_every_mutant_changes_the_code_as_it_is_now(mutant: Mutant) -> None:
    texts = {edit.path: (ROOT / edit.path).read_text(encoding="utf-8") for edit in mutant.edits}
    for edit in mutant.edits:
        texts[edit.path] = edit.apply(texts[edit.path])
    for path, text in texts.items():
        compile(text, path, "exec")


@EACH
def test_every_mutant_names_a_scenario_that_exists(mutant: Mutant) -> None:
    path, _, name = mutant.scenario.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8")
    assert re.compile(mutant.sign).pattern


def test_no_two_mutants_have_one_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_an_edit_of_code_that_is_no_longer_there_is_refused() -> None:
    for text in ("a = 2", "a = 1; a = 1"):
        with pytest.raises(ValueError, match="has changed"):
            Edit("file.py", "a = 1", "a = 3").apply(text)


@pytest.mark.parametrize(
    ("tag", "said", "verdict"),
    [
        ("failure", "AssertionError: 20 copies too many, at most 8 allowed", RED),
        ("failure", "assert 'copies too many' == ''", RED),
        ("failure", "AssertionError: something else", INCONCLUSIVE),
        ("failure", "tests.services.processes.ServiceError: waited in vain, copies too many", INCONCLUSIVE),
        ("error", "failed on setup with &quot;AssertionError: copies too many&quot;", INCONCLUSIVE),
    ],
)
def test_only_the_assertion_that_shows_the_broken_promise_counts(
    tmp_path: Path, tag: str, said: str, verdict: str
) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(tag=tag, said=said))
    assert judge(1, report, "", sign="copies too many")[0] == verdict


@pytest.mark.parametrize("code", [2, 3, 4, 5, -9])
def test_a_run_that_did_not_come_to_a_failed_test_is_inconclusive(tmp_path: Path, code: int) -> None:
    assert judge(code, tmp_path / "none.xml", "", sign="")[0] == INCONCLUSIVE
