"""The Dramatiq middleware that runs the clock, the doorbell's publisher and the courier's draining."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from django.utils.module_loading import import_string
from dramatiq import Broker, Worker
from dramatiq.middleware import Middleware


class Companion(Protocol):
    """Something that lives as long as the worker process does."""

    def start(self) -> None: ...

    def drain(self) -> None: ...

    def stop(self) -> None: ...


class ClockThread(Middleware):
    """Start the worker's companions with it, drain them on SIGTERM, stop them when it is done.

    The functions are named by their paths, since models cannot be imported while settings load. `prepare` runs before
    the first message is taken, `factory` after the worker's threads have started.
    """

    def __init__(self, factory: str = "config.companions.make", prepare: str = "config.companions.prepare") -> None:
        self._prepare = prepare
        self._factory = factory
        self._companions: list[Companion] = []

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        prepare: Callable[[], None] = import_string(self._prepare)
        prepare()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        make: Callable[[], list[Companion]] = import_string(self._factory)
        self._companions = make()
        for companion in self._companions:
            companion.start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        for companion in self._companions:
            companion.drain()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        for companion in reversed(self._companions):
            companion.stop()
        self._companions = []
