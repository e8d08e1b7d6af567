"""(e), (f) and (g): an issue to a million readers."""

from __future__ import annotations

import time

from benchmarks import processor
from benchmarks.installation import Installation, Row
from benchmarks.stage import Stage
from tests.services.processes import ServiceError, wait_until

FAN_OUT_SECONDS = 600
# Long enough for the memory to show that it does not grow.
MEMORY_SECONDS = 240
FACTS = """
SELECT extract(epoch FROM i.fan_out_done_at - i.started_at), extract(epoch FROM i.started_at),
    (SELECT extract(epoch FROM min(d.settled_at)) FROM newsletters_delivery d
     WHERE d.issue_id = i.id AND d.state = 'sent'),
    i.audience
FROM newsletters_issue i WHERE i.id = %s
"""


def measure(stage: Stage) -> None:
    """Fan out twice: as the product does it, with delivery going on beside it, and paused right after the start."""
    courant = stage.installation("million", broker=stage.rabbitmq)
    newsletter = stage.million
    with courant.workers():
        _fan_out(stage, courant, newsletter, paused=False)
        _fan_out(stage, courant, newsletter, paused=True)


def _fan_out(stage: Stage, courant: Installation, newsletter: Row, *, paused: bool) -> None:
    issue = courant.draft(newsletter)
    began, _ = courant.post_send(issue)
    if paused:
        courant.pause(issue)
    courant.wait_for(issue, "fan_out_done_at IS NOT NULL", "the fan-out is done", seconds=FAN_OUT_SECONDS)
    if not paused:
        courant.pause(issue)
    fan_out, started, first, audience = courant.ask(FACTS, issue.pk)
    if audience != stage.options.many_readers:
        raise ServiceError(f"{audience} of {stage.options.many_readers} readers were fanned out")
    figures = stage.figures
    if paused:
        figures.add("fan_out_1m_paused_s", float(fan_out))
    else:
        figures.add("fan_out_1m_s", float(fan_out))
        # Settled right after the sink's reply: a little later than the mail itself.
        figures.add("first_mail_1m_s", float(first) - began)
        figures.add("first_mail_1m_from_start_s", float(first) - float(started))
    courant.forget_issues()


def measure_memory(stage: Stage) -> None:
    """Send to a million readers for some minutes, or to the end, and note the greatest memory of a worker."""
    courant = stage.installation("million", broker=stage.rabbitmq)
    newsletter = stage.million
    with courant.workers() as root:
        issue = courant.draft(newsletter)
        courant.post_send(issue)
        began = time.monotonic()

        def over() -> bool:
            ended = courant.ask("SELECT state = 'sent' FROM newsletters_issue WHERE id = %s", issue.pk)[0]
            return bool(ended) or time.monotonic() - began > MEMORY_SECONDS

        wait_until(over, "the memory is measured", seconds=MEMORY_SECONDS + 10, pause=0.5)
        stage.figures.add("rss_1m_mb", processor.peak_memory_mb(root))
        courant.pause(issue, may_be_sent=True)
        mails, seconds = courant.ask(
            "SELECT count(*), extract(epoch FROM max(settled_at) - i.started_at) FROM newsletters_delivery d "
            "JOIN newsletters_issue i ON i.id = d.issue_id WHERE d.issue_id = %s AND d.state = 'sent' GROUP BY i.id",
            issue.pk,
        )
        stage.figures.add("million_per_s", mails / float(seconds))
        stage.figures.remark(f"Memory at 1M: after {mails:,} mails of it.")
        courant.forget_issues()
