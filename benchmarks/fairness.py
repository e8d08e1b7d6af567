"""Beside the table: how soon something small leaves while a large issue is being sent."""

from __future__ import annotations

import time

from benchmarks.installation import Installation, Row
from benchmarks.stage import Stage
from tests.services.processes import wait_until

TRIALS = 5
UNDER_WAY = 5_000
LIMIT_SECONDS = 60
ISSUE_TAKEN = (
    "SELECT extract(epoch FROM max(settled_at)) FROM newsletters_delivery WHERE issue_id = %s AND state = 'sent'"
)
NOTICE_TAKEN = "SELECT extract(epoch FROM max(sent_at)) FROM newsletters_notice WHERE to_address = %s"
SETTLED = "SELECT count(*) FROM (SELECT FROM newsletters_delivery WHERE issue_id = %s AND state = 'sent' LIMIT %s) d"


def measure(stage: Stage) -> None:
    """Queue five issues of one reader and five confirmations, one after the other; the slowest of each counts.

    A mail counts once it is recorded as sent, which is just after the sink took it.
    """
    courant = stage.installation("readers", broker=stage.rabbitmq)
    large, small = courant.newsletter(stage.options.running_readers), courant.newsletter(1)
    with courant.workers():
        running = courant.draft(large)
        courant.post_send(running)
        enough = min(UNDER_WAY, stage.options.running_readers // 10)
        wait_until(
            lambda: courant.ask(SETTLED, running.pk, enough)[0] == enough, "the issue runs", seconds=LIMIT_SECONDS
        )
        issues, notices = [], []
        for number in range(TRIALS):
            issues.append(_issue(courant, small))
            notices.append(_confirmation(courant, small, f"new-{number}@example.org"))
        if courant.ask("SELECT state FROM newsletters_issue WHERE id = %s", running.pk)[0] != "sending":
            stage.figures.remark(
                "The large issue ended before the last of the small ones: take more --running-readers."
            )
        courant.pause(running, may_be_sent=True)
        courant.forget_issues()
    stage.figures.add("fairness_issue_s", max(issues))
    stage.figures.add("fairness_notice_s", max(notices))


def _issue(courant: Installation, newsletter: Row) -> float:
    issue = courant.draft(newsletter)
    began, _ = courant.post_send(issue)
    wait_until(lambda: courant.ask(ISSUE_TAKEN, issue.pk)[0] is not None, "it left", seconds=LIMIT_SECONDS)
    return float(courant.ask(ISSUE_TAKEN, issue.pk)[0]) - began


def _confirmation(courant: Installation, newsletter: Row, address: str) -> float:
    began = time.time()
    courant.site.ask("POST", f"/newsletters/{newsletter.uid}/subscriptions", {"address": address})
    wait_until(lambda: courant.ask(NOTICE_TAKEN, address)[0] is not None, "it left", seconds=LIMIT_SECONDS)
    return float(courant.ask(NOTICE_TAKEN, address)[0]) - began
