"""Beside the table: a sender limited to 14 mails a second, sent by three worker processes, counted at the sink."""

from __future__ import annotations

import itertools
import time

from benchmarks.servers import running
from benchmarks.stage import Stage
from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink

MAX_RATE = 14
PROCESSES = 3
# What the limit lets through at once after a rest is not its pace.
SETTLING_SECONDS = 5
SPARE = 3


def measure(stage: Stage) -> None:
    """Count for a minute what the sink takes."""
    seconds = stage.options.rate_seconds
    with (
        running(SmtpSink()) as sink,
        stage.own_installation(
            "rate", broker=stage.rabbitmq, email_url=sink.url, WORKER_PROCESSES=str(PROCESSES)
        ) as courant,
    ):
        newsletter = courant.newsletter(MAX_RATE * (seconds + SETTLING_SECONDS) * SPARE)
        [sender] = courant.site.every("/senders")
        courant.site.ask("PATCH", f"/senders/{sender['id']}", {"max_rate": MAX_RATE})
        with courant.workers(warm=False):
            issue = courant.draft(newsletter)
            courant.post_send(issue)
            wait_until(lambda: sink.count() > 0, "the first mail is taken", seconds=30)
            time.sleep(SETTLING_SECONDS)
            counts, began = [sink.count()], time.monotonic()
            for number in range(seconds):
                time.sleep(max(0.0, began + number + 1 - time.monotonic()))
                counts.append(sink.count())
            took = time.monotonic() - began
            courant.pause(issue, may_be_sent=True)
    rate = (counts[-1] - counts[0]) / took
    by_second = [after - before for before, after in itertools.pairwise(counts)]
    stage.figures.add("rate_per_s", rate)
    stage.figures.add("rate_off_percent", abs(rate / MAX_RATE - 1) * 100)
    stage.figures.remark(
        f"max_rate {MAX_RATE} with {PROCESSES} processes: {counts[-1] - counts[0]} mails in {took:.1f} s, "
        f"{min(by_second)} to {max(by_second)} in each second."
    )
