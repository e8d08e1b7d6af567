"""F01, F02, F08: workers that are killed, stopped and replaced while they send."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.stage import LANES, SETTINGS, SHORT_LEASE, Stage, chance_of
from tests.services import editor
from tests.services.accounting import account
from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink
from tests.services.site import Site

READERS = 800


def test_f01_killed_workers_lose_nobody(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS, **SHORT_LEASE)
    chance = chance_of(101)
    # Each mail takes its time between the ledger's line and the reply: where a kill hurts most.
    stage.send_slowly(seconds=0.2)
    for kill in range(5):
        stage.wait_for_mails((kill + 1) * READERS // 8)
        time.sleep(chance.uniform(0, 0.1))
        stage.kill_worker(kill % 2)
    stage.finish().require(dups=stage.bound)


def test_f02_a_worker_that_sleeps_past_its_lease_doubles_at_most_what_it_had_in_hand(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(readers=READERS, **SHORT_LEASE)
    # While one sleeps, the other does not come to the end.
    stage.send_slowly(seconds=0.4)
    for number in (0, 1):
        stage.wait_for_mails((number + 1) * READERS // 8)
        stage.freeze_worker(number)
    stage.finish().require(dups=stage.bound)


def test_f08_replacing_every_worker_again_and_again_doubles_nobody(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    stage.send_slowly()
    for turn in range(4):
        stage.wait_for_mails((turn + 1) * READERS // 8)
        stage.terminate_worker(turn % 2)
    stage.finish().require()


def test_f01_killed_workers_of_the_embedded_set_up_lose_nobody(
    make_site: Callable[..., Site], smtp_sink: SmtpSink
) -> None:
    site = make_site("embedded", **SETTINGS | SHORT_LEASE)
    site.start_web()
    worker = site.start_worker()
    expected = editor.import_numbered_readers(site, newsletter_id := editor.make_newsletter(site), READERS // 2)
    smtp_sink.script({"*": {"delay": 0.1}})
    issue_id = editor.write_issue(site, newsletter_id)
    assert site.send_issue(issue_id).status == 202
    for kill in range(3):
        wait_until(lambda kill=kill: smtp_sink.count() >= (kill + 1) * 80, "mails are out", seconds=300)  # type: ignore[misc]
        worker.kill()
    site.wait_for_issue(issue_id, "sent", seconds=400)
    account(site, issue_id, smtp_sink, expected).require(dups=3 * LANES)
