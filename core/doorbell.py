"""Doorbells: messages that say "there is due work here", published from a thread of their own.

A bell carries a row's id at most. Losing, doubling or delaying one changes nothing, because the
work itself is a row: the clock asks again and rings again. A blocked broker blocks this thread only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from dramatiq import Actor

log = structlog.get_logger(__name__)

PAUSE_AFTER_FAILURE = 1.0


@dataclass(frozen=True)
class Bell:
    """One actor to wake, and the id of the row it should look at."""

    actor: Actor[..., Any]
    row_id: int


class Doorbell:
    """Publishes bells one by one; the same bell rung twice before it is published counts once.

    `report` is told after each attempt: an empty text for success, else the kind of error.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._waiting: dict[Bell, None] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._publish, name="doorbell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing; a call that a dead broker blocks is left behind with its daemon thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=2)

    def ring(self, bell: Bell) -> None:
        """Ask for a message to be published soon; never blocks."""
        with self._changed:
            self._waiting[bell] = None
            self._changed.notify()

    def _publish(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                bell = next(iter(self._waiting))
                del self._waiting[bell]
            try:
                bell.actor.send(bell.row_id)
            except Exception as error:  # noqa: BLE001  # brokers raise their drivers' own errors
                log.warning("doorbell_failed", actor=bell.actor.actor_name, error=type(error).__name__)
                self._report(type(error).__name__)
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping, timeout=PAUSE_AFTER_FAILURE)
            else:
                self._report("")
