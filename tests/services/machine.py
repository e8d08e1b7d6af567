"""What a test needs of the machine beyond programs. A machine that refuses is said aloud, and in CI it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Power:
    """Something that not every machine lets its user do. `probe` tries it and leaves nothing behind."""

    name: str
    probe: tuple[str, ...]
    remedy: str


# Each probe works in namespaces of its own, which end with it.
MOUNTS = Power(
    "mount a file system",
    ("unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=1m", "courant-probe", "/tmp"),  # noqa: S108
    "root with CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)",
)
NETWORKS = Power(
    "make network namespaces",
    ("unshare", "--mount", "--net", "ip", "link", "add", "courant-a", "type", "veth", "peer", "name", "courant-b"),
    "root with CAP_SYS_ADMIN and CAP_NET_ADMIN, iproute2, and the kernel's veth",
)


def require(power: Power, *, environment: Mapping[str, str] = os.environ) -> None:
    """Go on where the machine lets us; else skip the test with a reason, or fail it where `CI` is set."""
    refusal = _refusal(power)
    if refusal is None:
        return
    message = f"this machine does not let tests {power.name} ({refusal}); that takes {power.remedy}"
    if environment.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def _refusal(power: Power) -> str | None:
    try:
        done = subprocess.run(power.probe, capture_output=True, text=True, check=False, timeout=120)
    except OSError as error:
        return str(error)
    return (done.stderr.strip() or f"exit code {done.returncode}") if done.returncode else None
