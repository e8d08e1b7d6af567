from __future__ import annotations

from pathlib import Path

import pytest

from tests.services.machine import MOUNTS, NETWORKS, Power, require

REFUSED = Power("fly", ("sh", "-c", "echo no wings >&2; exit 1"), "wings")
UNKNOWN = Power("fly", ("/no/such/program",), "wings")


@pytest.mark.parametrize("power", [REFUSED, UNKNOWN])
def test_a_machine_that_cannot_skips_the_test_and_says_why(power: Power) -> None:
    with pytest.raises(pytest.skip.Exception, match=r"does not let tests fly.*that takes wings"):
        require(power, environment={})


def test_a_machine_that_cannot_fails_the_test_in_ci() -> None:
    with pytest.raises(pytest.fail.Exception, match="no wings"):
        require(REFUSED, environment={"CI": "true"})


def test_a_machine_that_can_goes_on() -> None:
    require(Power("breathe", ("true",), "air"), environment={"CI": "true"})


@pytest.mark.parametrize("power", [MOUNTS, NETWORKS])
def test_trying_what_the_machine_can_leaves_nothing_behind(power: Power) -> None:
    require(power)
    # Not all that there is: other tests mount disks and make networks at the same time.
    assert "courant-probe" not in Path("/proc/self/mounts").read_text()
    assert not [path for path in Path("/sys/class/net").iterdir() if path.name in ("courant-a", "courant-b")]
