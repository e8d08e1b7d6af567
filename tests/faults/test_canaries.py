"""Small sharp scenarios, each of which finds a defect that the large ones may let pass.

`tests/faults/mutants.py` names the defects. What these look at is in the database, so one broker is enough.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from dramatiq import actor
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from config.broker import dramatiq_broker
from tests.faults.stage import LANES, SHORT_LEASE, Stage
from tests.services.processes import wait_until
from tests.services.rabbitmq import Rabbitmq

READERS = 160
# Longer than the scenario: nobody's turn ends meanwhile, so that a worker keeps the rows in its hand.
LONG_SLICE = {"DELIVERY_SLICE_SECONDS": "120"}
# In time for a test, and long enough for a busy machine to renew.
KEPT_SECONDS = 15
# A row of the dead worker counts as attempted alone when no other mail of the process began before it was settled.
NEIGHBOURS_OF_SUSPECTS = """
SELECT count(*) FROM newsletters_delivery suspect JOIN newsletters_delivery other
    ON other.intent_at > suspect.intent_at AND other.intent_at < suspect.settled_at
WHERE suspect.kills > 0
"""
# However long the scenario takes.
DEFER = """
UPDATE newsletters_delivery SET next_at = now() + interval '1 day' WHERE state = 'queued' AND attempts = 1 RETURNING id
"""
OPEN = "SELECT count(*) FROM newsletters_delivery WHERE state IN ('queued', 'sending')"


@pytest.fixture
def broker_name() -> str:
    return "redis"


def broker_state(stage: Stage) -> object:
    return stage.site.fetch(f"{stage.site.address}/readyz").json["broker"].get("state")


def state_of(stage: Stage) -> object:
    return stage.site.ask("GET", f"/issues/{stage.issue_id}")["state"]


def test_f01_a_killed_worker_doubles_the_mails_in_hand_and_no_others(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS, workers=1, **SHORT_LEASE | LONG_SLICE)
    # Nearly all the time of a mail is between its final dot and the reply: the kill meets every lane there.
    stage.send_slowly()
    stage.wait_for_mails(READERS // 2)
    stage.kill_worker()
    found = stage.finish()
    found.require(dups=LANES)
    assert found.flagged


def test_f02_a_worker_that_slept_drops_the_rows_that_its_lanes_had_taken(make_stage: Callable[..., Stage]) -> None:
    # One reader's mail is deferred: the issue is still open when the worker wakes up.
    stage = make_stage(readers=READERS // 4, workers=1, RETRY_SCALE_PERCENT="100", **SHORT_LEASE | LONG_SLICE)
    stage.sink.script({"reader-2@example.org": {"rcpt": "450 4.2.1 later", "times": 1}})
    # Nearly all the time every lane has a row and waits for its turn to ask the gate: none of these mails has begun.
    stage.query("UPDATE newsletters_senderidentity SET max_rate = 8")
    stage.send()
    stage.wait_for_mails(READERS // 16)
    wait_until(lambda: stage.query(DEFER) != [], "one mail is deferred", seconds=180)
    sleeper = stage.site.workers[0].program
    sleeper.send_group(signal.SIGSTOP)
    # What the worker had told the database before it slept is committed by then.
    stage.rest(seconds=4)
    [(begun,)] = stage.query("SELECT count(*) FROM newsletters_delivery WHERE gated")
    assert isinstance(begun, int)
    stage.site.start_worker()
    sent_all = "the other worker has sent all that it could"
    wait_until(lambda: stage.query(OPEN) == [(1,)], sent_all, seconds=400, pause=0.2)
    sleeper.send_group(signal.SIGCONT)
    stage.rest(seconds=3)
    stage.query("UPDATE newsletters_delivery SET next_at = now() WHERE state = 'queued'")
    stage.finish().require(dups=begun)


def test_f15_a_mail_that_may_have_killed_its_worker_is_alone(make_stage: Callable[..., Stage]) -> None:
    ordinary = {"delay": 0.2}
    stage = make_stage(readers=READERS, workers=1, DELIVERY_LANES="2", **SHORT_LEASE)
    stage.sink.script({"*": ordinary})
    stage.send()
    stage.wait_for_mails(READERS // 8)
    # Nobody works on until it is known whose mails it had in hand, its last words among them.
    stage.site.workers.pop().end()
    stage.rest(seconds=1)
    in_hand = stage.query(
        "SELECT r.address FROM newsletters_delivery d JOIN newsletters_subscription s ON s.id = d.subscription_id "
        "JOIN newsletters_subscriber r ON r.id = s.subscriber_id WHERE d.gated"
    )
    assert in_hand
    stage.sink.script({"*": ordinary} | {str(address): {"delay": 3} for (address,) in in_hand})
    stage.site.start_worker()
    stage.finish().require(dups=2)
    assert stage.query("SELECT count(*) FROM newsletters_delivery WHERE kills > 0") == [(len(in_hand),)]
    assert stage.query(NEIGHBOURS_OF_SUSPECTS) == [(0,)]


def test_f26_a_final_dot_slower_than_the_lease_casts_doubt_on_nobody(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=6, DELIVERY_LEASE_SECONDS=str(KEPT_SECONDS))
    stage.sink.script({"*": {"delay": 1.6 * KEPT_SECONDS}})
    stage.send()
    found = stage.finish()
    assert not found.flagged, f"in doubt: {sorted(found.flagged)}"
    found.require()


def test_f20_an_issue_waits_for_its_fan_out(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    stage.broker.kill()
    stage.send()
    # By then the clock has asked many times whether the issue has ended.
    wait_until(
        lambda: state_of(stage) == "sent" or broker_state(stage) == "unreachable", "either", seconds=300, pause=0.2
    )
    assert state_of(stage) == "sending"
    stage.broker.start()
    stage.finish().require()


def test_f20_a_fan_out_that_begins_again_adds_nobody(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    # An issue that is called sent has had its fan-out, by a constraint.
    stage.send_slowly(seconds=1)
    stage.wait_for_mails(READERS // 8)
    # Where the cursor says nothing any more, the database itself must refuse a second row.
    stage.query("UPDATE newsletters_issue SET fan_out_cursor = 0, fan_out_done_at = NULL")
    stage.finish().require()


def test_f29_only_a_mail_that_the_relay_took_is_called_sent(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS // 4)
    refused = {"reader-3@example.org": {"rcpt": "550 5.1.1 no such user"}, "reader-7@example.org": {"dot": "554 no"}}
    stage.sink.script(refused)
    stage.send()
    stage.finish().require(bounced=set(refused))


def test_f05_a_doorbell_to_a_deleted_queue_is_stored_or_said_to_have_failed(rabbitmq: Rabbitmq) -> None:
    broker = RabbitmqBroker(**dramatiq_broker(rabbitmq.url)["OPTIONS"], middleware=[])
    bell = actor(actor_name="bell", queue_name="canary", broker=broker)(lambda: None)
    try:
        bell.send()
        broker.channel.queue_delete("canary")
        bell.send()
        assert broker.get_queue_message_counts("canary")[0] == 1
    finally:
        broker.close()
