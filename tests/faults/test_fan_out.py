"""F20, F21: fan-outs that are killed, doubled, and overtaken by readers who come and go. The audience is exact."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.stage import SHORT_LEASE, Stage, chance_of, meanwhile
from tests.services import editor
from tests.services.processes import wait_until

READERS = 1_500
KILLS = 3
# Some hundred chunks, so that there is much to be killed between.
CHUNK = "10"
# Each chunk takes so many seconds more: a busy test must not find that fan-out is over before it has looked twice.
DAWDLE = """
CREATE TABLE dawdling (seconds float);
INSERT INTO dawdling VALUES (0.1);
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(seconds) FROM dawdling; RETURN NULL; END';
CREATE TRIGGER dawdle AFTER INSERT ON newsletters_delivery FOR EACH STATEMENT EXECUTE FUNCTION dawdle();
"""
HURRY = "UPDATE dawdling SET seconds = 0"


def progress(stage: Stage) -> tuple[int, bool]:
    """Return how many readers have a row, and whether fan-out goes on."""
    [(audience, open_still)] = stage.query("SELECT audience, fan_out_done_at IS NULL FROM newsletters_issue")
    return int(str(audience)), bool(open_still)


def test_f20_a_fan_out_that_is_killed_and_doubled_is_exact(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS, FAN_OUT_CHUNK=CHUNK, **SHORT_LEASE)
    chance = chance_of(20)
    stage.query(DAWDLE)
    stage.send()
    killed_at = []
    for turn in range(KILLS):
        stage.double_doorbells(actor="fan_out", times=10)
        wait_until(lambda turn=turn: progress(stage)[0] > turn * READERS // 5, "rows are there", seconds=300)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.2))
        for number in range(len(stage.site.workers)):
            stage.kill_worker(number)
        killed_at.append(progress(stage))
    print(killed_at)  # noqa: T201
    stage.query(HURRY)
    assert any(open_still for _, open_still in killed_at)
    found = stage.finish()
    print(f"{found.dups} copies, {stage.bound} allowed")  # noqa: T201
    found.require(dups=stage.bound)
    assert progress(stage) == (READERS, False)


def test_f21_who_comes_and_goes_during_fan_out_changes_nothing_about_the_audience(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(readers=READERS, FAN_OUT_CHUNK=CHUNK)
    stage.query(DAWDLE)
    places = stage.site.every(f"/newsletters/{stage.newsletter_id}/subscriptions")[:60]
    latecomers = "\n".join(["email", *(f"late-{number}@example.org" for number in range(500)), ""]).encode()
    stage.send()

    def join() -> None:
        for number in range(60):
            body = {"address": f"new-{number}@example.org", "consent_source": "form"}
            stage.site.ask("POST", f"/newsletters/{stage.newsletter_id}/subscriptions", body)

    acts = [
        meanwhile(lambda: editor.import_readers(stage.site, stage.newsletter_id, latecomers)),
        meanwhile(join),
    ]
    for place in places:
        stage.site.ask("POST", f"/subscriptions/{place['id']}/unsubscribe")
    for act in acts:
        act.join()
    stage.query(HURRY)
    found = stage.finish()
    leavers = {place["subscriber"]["address"] for place in places}
    found.require(suppressed=leavers - {mail.recipient for mail in stage.sink.mails()})
    assert progress(stage) == (READERS, False)
    [(joined, left)] = stage.query(
        "SELECT count(*) FILTER (WHERE s.state = 'active'), count(*) FILTER (WHERE s.state = 'unsubscribed') "
        "FROM newsletters_subscription s, newsletters_issue i WHERE s.changed_at BETWEEN i.started_at AND "
        "i.fan_out_done_at"
    )
    print(f"{joined} joined and {left} left during fan-out")  # noqa: T201
    assert joined
    assert left
