from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from tests.services.environment import ROOT, documented_names

PROGRAMS = {"python", "gunicorn"}
# honcho ends everything when one process ends, so there `release` waits when it is done.
UNDER_HONCHO = ' && if [ -n "$HONCHO_PROCESS_NAME" ]; then exec sleep infinity; fi'


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8")))


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_the_procfile_has_release_web_and_worker() -> None:
    assert set(procfile()) == {"release", "web", "worker"}


def test_each_command_of_the_procfile_runs_something_that_exists() -> None:
    commands = [part for line in procfile().values() for part in line.removesuffix(UNDER_HONCHO).split(" && ")]
    words = [shlex.split(command) for command in commands]
    assert {first for first, *_ in words} == PROGRAMS
    files = [word for command in words for word in command if word.endswith(".py")]
    assert files
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_compose_runs_what_the_procfile_runs() -> None:
    services = compose()["services"]
    for name in ("web", "worker"):
        assert shlex.join(services[name]["command"]) == procfile()[name]


@pytest.mark.parametrize("name", ["web", "postgresql", "rabbitmq", "redis", "mailpit"])
def test_compose_checks_the_health_of(name: str) -> None:
    check = compose()["services"][name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert {"interval", "timeout", "retries"} <= set(check)


def test_compose_keeps_data_in_named_volumes() -> None:
    document = compose()
    used = {volume.split(":")[0] for service in document["services"].values() for volume in service.get("volumes", [])}
    assert used == set(document["volumes"]) == {"guard", "postgresql", "rabbitmq", "redis", "mailpit"}


def test_compose_publishes_ports_on_loopback_only() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_sets_only_variables_that_exist() -> None:
    document = compose()
    assert set(document["x-courant"]["environment"]) <= documented_names()
    known = set(document["services"])
    assert {name for service in document["services"].values() for name in service.get("depends_on", {})} <= known


def test_the_image_installs_with_hashes_and_runs_as_nobody_in_particular() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert any("--require-hashes" in line for line in lines)
    assert lines.index("USER courant") < next(i for i, line in enumerate(lines) if line.startswith("CMD"))


def test_the_image_copies_only_what_its_context_contains() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if re.match(r"COPY (?!--from)", line)
        for word in line.split()[1:-1]
    }
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []
