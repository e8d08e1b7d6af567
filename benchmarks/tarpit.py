"""Beside the table: what a domain that keeps every RCPT waiting, with a fifth of the readers, costs the others."""

from __future__ import annotations

from benchmarks.servers import SlowSink, running
from benchmarks.stage import SLOW_SECONDS, Stage
from tests.services.processes import wait_until

DOMAIN = "tarpit.example.com"
RCPT_SECONDS = 35.0
SHARE = 5
LIMIT_SECONDS = 900
OTHERS = """
SELECT count(*), extract(epoch FROM max(d.settled_at) - i.started_at)
FROM newsletters_issue i JOIN newsletters_delivery d ON d.issue_id = i.id AND d.state = 'sent'
    JOIN newsletters_subscription s ON s.id = d.subscription_id
    JOIN newsletters_subscriber r ON r.id = s.subscriber_id AND split_part(r.address, '@', 2) <> %s
WHERE i.id = %s GROUP BY i.started_at
"""


def measure(stage: Stage) -> None:
    """Send to the others alone, then to the same number together with the tarpit's readers.

    The sink answers all other commands after 20 ms, as a real relay does.
    """
    others = stage.options.slow_readers
    with running(SlowSink(delay=SLOW_SECONDS, tarpit=DOMAIN, tarpit_delay=RCPT_SECONDS)) as sink:
        alone = _others_rate(stage, sink, readers=others, tarpit=None)
        beside = _others_rate(stage, sink, readers=others * SHARE // (SHARE - 1), tarpit=DOMAIN)
    stage.figures.add("tarpit_without_per_s", alone)
    stage.figures.add("tarpit_with_per_s", beside)
    stage.figures.add("tarpit_ratio", beside / alone)


def _others_rate(stage: Stage, sink: SlowSink, *, readers: int, tarpit: str | None) -> float:
    expected = readers - readers // SHARE if tarpit else readers
    with stage.own_installation("tarpit", broker=stage.rabbitmq, email_url=sink.url) as courant:
        newsletter = courant.newsletter(readers, tarpit=tarpit)
        with courant.workers():
            issue = courant.draft(newsletter)
            courant.post_send(issue)
            count = "SELECT count(*) FROM newsletters_delivery WHERE issue_id = %s AND state = 'sent'"

            def over() -> bool:
                # The cheap question first: the other one reads every reader.
                if courant.ask(count, issue.pk)[0] < expected:
                    return False
                return bool(courant.ask(OTHERS, DOMAIN, issue.pk)[0] >= expected)

            wait_until(over, "everybody else has the mail", seconds=LIMIT_SECONDS, pause=0.25)
            _, seconds = courant.ask(OTHERS, DOMAIN, issue.pk)
    return expected / float(seconds)
