"""The examples of docs/api.md do what they say, through clients generated from the committed document."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.services.environment import ROOT
from tests.services.sinks import SmtpSink
from tests.services.site import Site

EXAMPLES = ROOT / "docs" / "examples"
SHOWN = ["send_issue.py", "send-issue.sh", "send-issue.ts", "readers.csv", "python-client.yml"]
READERS = {"ada@example.org", "boris@example.org", "chloe@example.org"}


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Return what a program printed; fail with it when the program fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, cwd=cwd, env=env)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def python_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Python client, generated without a warning."""
    folder = tmp_path_factory.mktemp("client") / "courant-client"
    options = ["--path", str(ROOT / "docs" / "openapi.json"), "--config", str(EXAMPLES / "python-client.yml")]
    program = str(Path(sys.executable).parent / "openapi-python-client")
    run(program, "generate", *options, "--output-path", str(folder), "--fail-on-warning")
    return folder


@pytest.fixture
def site(make_site: Any) -> Site:
    # A worker that the machine keeps waiting is not to be taken for dead, or mails go out twice.
    made: Site = make_site("embedded", DELIVERY_LEASE_SECONDS="300")
    made.start_web()
    made.start_worker()
    return made


def environment(site: Site) -> dict[str, str]:
    facts = {"COURANT_URL": site.address, "COURANT_KEY": site.key, "COURANT_READERS": str(EXAMPLES / "readers.csv")}
    return dict(os.environ) | facts


def check(printed: str, sink: SmtpSink) -> None:
    """Check that an example followed its issue to the end, and that the mails arrived."""
    lines = printed.splitlines()
    assert lines[0] == "3 readers added, 0 rows with an error"
    assert any(line.startswith("sent: 3 of 3 sent") for line in lines), printed
    assert set(lines[-3:]) == {f"{reader} sent" for reader in READERS}
    assert sorted(mail.recipient for mail in sink.mails()) == sorted(READERS)


def test_the_python_client_is_generated_whole_and_typed(python_client: Path) -> None:
    operations = {path.stem for path in (python_client / "courant_client" / "api").glob("*/*.py")}
    assert {"create_newsletter", "create_import", "send_issue", "get_progress", "list_deliveries"} <= operations
    example = str(EXAMPLES / "send_issue.py")
    options = ["--strict", "--config-file", os.devnull, "--cache-dir", str(python_client / "mypy-cache")]
    run(sys.executable, "-m", "mypy", *options, "courant_client", example, cwd=python_client)


def test_the_python_example_sends_an_issue(python_client: Path, site: Site, smtp_sink: SmtpSink) -> None:
    printed = run(
        sys.executable, str(EXAMPLES / "send_issue.py"), env=environment(site) | {"PYTHONPATH": str(python_client)}
    )
    check(printed, smtp_sink)


def test_the_curl_example_sends_an_issue(site: Site, smtp_sink: SmtpSink) -> None:
    check(run("sh", str(EXAMPLES / "send-issue.sh"), env=environment(site)), smtp_sink)


def test_the_curl_example_shows_an_error_and_ends(site: Site) -> None:
    variables = environment(site)
    run("sh", str(EXAMPLES / "send-issue.sh"), env=variables)
    again = subprocess.run(
        ["sh", str(EXAMPLES / "send-issue.sh")], env=variables, capture_output=True, text=True, check=False, timeout=600
    )
    assert again.returncode == 1
    assert '"code":"newsletter_slug_taken"' in again.stderr


def test_the_typescript_example_is_typed_and_sends_an_issue(tmp_path: Path, site: Site, smtp_sink: SmtpSink) -> None:
    modules = EXAMPLES / "node_modules"
    assert modules.is_dir(), "run .ci/node"
    for path in EXAMPLES.glob("*.*"):
        if path.is_file():
            shutil.copy(path, tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    types = [str(modules / ".bin" / "openapi-typescript"), str(ROOT / "docs" / "openapi.json")]
    run(*types, "--output", "courant.d.ts", "--default-non-nullable=false", cwd=tmp_path)
    run(str(modules / ".bin" / "tsc"), "--outDir", "built", cwd=tmp_path)
    check(run("node", "built/send-issue.js", cwd=tmp_path, env=environment(site)), smtp_sink)


def test_the_typescript_lock_names_no_address() -> None:
    # npm writes "funding" into a new lock, which nothing reads: take it out again.
    assert "://" not in (EXAMPLES / "package-lock.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SHOWN)
def test_the_guide_shows_what_is_tested(name: str) -> None:
    guide = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert (EXAMPLES / name).read_text(encoding="utf-8").strip() in guide
