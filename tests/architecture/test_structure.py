from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from newsletters import actors
from tests.architecture.source import PACKAGES, body_lines, decorators, functions, place, python_files
from tests.services.environment import ROOT

LONGEST_FILE = 300
LONGEST_ENDPOINT = 10
LONGEST_ACTOR = 5
ACTORS = {
    "archive_issues",
    "deliver",
    "fan_out",
    "import_subscribers",
    "purge_newsletter",
    "send_account_mail",
    "send_confirmation",
    "send_proof",
    "send_sender_verification",
    "start_issue",
}
HTTP_METHODS = {"get", "post", "put", "patch", "delete"}
# In pieces, so that this file does not name them.
REGISTRY_HOSTS = tuple(
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
    )
)


def test_imports_go_down_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_file_is_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(*PACKAGES, "tests", "benchmarks")
    }
    assert len(lengths) > 50
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_endpoints_are_thin() -> None:
    found = {
        place(path, function): body_lines(function)
        for path in python_files("newsletters/api", "accounts/api", "config")
        for function in functions(path)
        if any(
            name.partition(".")[0].endswith("router") and name.rpartition(".")[2] in HTTP_METHODS
            for name in decorators(function)
        )
    }
    assert len(found) > 20
    assert {where: length for where, length in found.items() if length > LONGEST_ENDPOINT} == {}


def test_actors_are_thin() -> None:
    found = {
        place(path, function): body_lines(function)
        for path in python_files(*PACKAGES)
        for function in functions(path)
        if {"actor", "dramatiq.actor"} & set(decorators(function))
    }
    assert len(found) == len(ACTORS)
    assert {where: length for where, length in found.items() if length > LONGEST_ACTOR} == {}


def test_every_actor_is_listed_here() -> None:
    assert actors.deliver.broker.get_declared_actors() == ACTORS


def test_imports_stand_at_the_top() -> None:
    inside = [
        place(path, node)
        for path in python_files(*PACKAGES, "tests")
        for function in functions(path)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert inside == []


def test_a_site_imports_nothing_that_only_developers_install() -> None:
    names = {
        name.partition(".")[0]: place(path, node)
        for path in python_files(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "demo.txt").read_text(), re.MULTILINE))
    packages = {
        name: {package.lower().replace("_", "-") for package in packages}
        for name, packages in packages_distributions().items()
        if name in names
    }
    assert len(packages) > 10
    missing = {name: names[name] for name, found in packages.items() if not found & pinned}
    assert missing == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"services.py", "utils.py", "helpers.py", "common.py", "misc.py"}
    assert [str(path) for path in python_files(*PACKAGES) if path.name in drawers] == []


def test_links_never_come_from_the_host_header() -> None:
    users = [
        str(path.relative_to(ROOT))
        for path in python_files(*PACKAGES)
        if "build_absolute_uri" in path.read_text(encoding="utf-8")
    ]
    assert users == []


def test_no_registry_is_named() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(files) > 50
    named = [
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file() and any(host.encode() in path.read_bytes() for host in REGISTRY_HOSTS)
    ]
    assert named == []
