"""Dramatiq middleware that mends what upstream leaves open. One idea a class."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import structlog
from dramatiq import Broker, MessageProxy
from dramatiq.middleware import Middleware, Retries

log = structlog.get_logger(__name__)

PR_SET_PDEATHSIG = 1


class SafeRetries(Retries):
    """Retries that never lose a message whose retry could not be published.

    Upstream logs the failure and acknowledges the message, which is then gone; failing it makes
    the server dead-letter it, which works even while publishing is blocked.
    Source: https://github.com/Bogdanp/dramatiq/pull/545
    """

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        try:
            super().after_process_message(broker, message, result=result, exception=exception)  # type: ignore[no-untyped-call]  # upstream left it untyped
        except Exception:
            message.fail()
            raise


class OneSigterm(Middleware):
    """Let only the first SIGTERM of a worker process count.

    Heroku and honcho signal the whole process group and the Dramatiq master passes its own signal
    on; the child takes the second one for "kill at once", and would then wait for ever for its own threads.
    """

    def after_process_boot(self, broker: Broker) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            signal.signal(signal.SIGTERM, self._once(handler))

    @staticmethod
    def _once(
        handler: Callable[[int, types.FrameType | None], Any],
    ) -> Callable[[int, types.FrameType | None], Any]:
        seen: list[int] = []

        def first_only(signum: int, frame: types.FrameType | None) -> None:
            if not seen:
                seen.append(signum)
                # One that came before this boot has been counted by the handler itself.
                with contextlib.suppress(SystemExit):
                    handler(signum, frame)

        return first_only


class EndInTime(Middleware):
    """End a worker process so many seconds after its SIGTERM, whatever keeps it.

    A database that does not answer keeps the outcomes that cannot be committed, and a broker that does not answer
    keeps its client for minutes. Platforms kill 30 s after SIGTERM, the master with its logs as well.
    """

    def __init__(self, seconds: float = 22.0) -> None:
        self._seconds = seconds
        self._is_counting = False

    def after_process_boot(self, broker: Broker) -> None:
        # Only in a process of Dramatiq's own, which a test's is not.
        handler = signal.getsignal(signal.SIGTERM)
        if callable(handler):
            signal.signal(signal.SIGTERM, self._counting(handler))

    def _counting(
        self, handler: Callable[[int, types.FrameType | None], Any]
    ) -> Callable[[int, types.FrameType | None], Any]:
        def count_down(signum: int, frame: types.FrameType | None) -> None:
            if not self._is_counting:
                self._is_counting = True
                timer = threading.Timer(self._seconds, self._end)
                timer.daemon = True
                timer.start()
            handler(signum, frame)

        return count_down

    def _end(self) -> None:
        log.error("worker_ended_in_the_middle", seconds=self._seconds)
        os._exit(0)


class EndWithMaster(Middleware):
    """Let a worker process whose master was killed end as after SIGTERM.

    It would work on beside those that its supervisor starts, with the code of its day, until somebody finds it.
    Linux only (prctl(2), PR_SET_PDEATHSIG).
    """

    def after_process_boot(self, broker: Broker) -> None:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


class BindMessageId(Middleware):
    """Put the message's id and actor on every log line written while it is processed."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        structlog.contextvars.bind_contextvars(message_id=message.message_id, actor=message.actor_name)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        with contextlib.suppress(LookupError):
            structlog.contextvars.unbind_contextvars("message_id", "actor")

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        self.after_process_message(broker, message)
