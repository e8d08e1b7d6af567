"""(h) A relay that answers each command after 20 ms: ours beside the best that so many connections allow."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.stage import Stage
from tests.services.environment import ROOT
from tests.services.processes import ServiceError

SECONDS_A_CLIENT = 5


def measure(stage: Stage) -> None:
    """Send an issue through the slow sink; in the same minute, let a bare client of as many connections try."""
    sink, readers, figures = stage.slow_sink, stage.options.slow_readers, stage.figures
    connections = stage.mail.connections
    # A pipelined group and a final dot, each answered after one delay: see benchmarks/slow_sink.py.
    best = connections / (2 * sink.delay)
    figures.add("slow_best_per_s", best)
    figures.add(
        "slow_client_per_s", _bare_client(sink.port, connections, round(best * SECONDS_A_CLIENT), stage.mail.size)
    )
    courant = stage.installation("readers", broker=stage.rabbitmq, email_url=sink.url)
    with courant.workers():
        sent = courant.send(courant.draft(stage.slow_readers))
    if sent.mails != readers:
        raise ServiceError(f"only {sent.mails} of {readers} mails were sent\n{courant.site.logs()}")
    figures.add("slow_sink_per_s", readers / sent.seconds)
    figures.add("slow_sink_ratio", readers / sent.seconds / best)
    courant.forget_issues()


def _bare_client(port: int, connections: int, mails: int, size: float) -> float:
    numbers = map(str, (port, connections, mails, round(size)))
    command = [sys.executable, "-m", "benchmarks.slow_client", *numbers]
    done = subprocess.run(  # noqa: S603  # our own command
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    return mails / float(done.stdout)
