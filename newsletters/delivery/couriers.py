"""The courier of this process, which its `deliver` actor asks to serve an issue."""

from __future__ import annotations

from newsletters.delivery.courier import Courier

_registered: list[Courier] = []


def register(courier: Courier) -> None:
    """Make a courier the one of this process."""
    _registered[:] = [courier]


async def deliver(issue_id: int) -> None:
    """Deliver an issue's due rows for one slice; does nothing before the worker has booted."""
    if _registered:
        await _registered[0].serve(issue_id)
