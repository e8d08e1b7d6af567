"""F11, F23-F25, F28-F30: what a relay may answer, and what becomes of the readers. One checker for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.stage import Stage
from tests.services.accounting import account
from tests.services.processes import wait_until

READERS = 200
MOST_ATTEMPTS = 20
# Reader number to the relay's reply; every other reader is ordinary.
REFUSALS: dict[int, dict[str, Any]] = {
    1: {"rcpt": "550 5.1.1 no such user"},
    2: {"rcpt": "550 5.1.10 null MX"},
    3: {"rcpt": "550 no enhanced code"},
    4: {"rcpt": "552 5.2.2 mailbox full"},
    5: {"rcpt": "554 5.3.4 too big"},
    6: {"rcpt": "550 5.7.1 not wanted"},
    7: {"dot": "554 refused"},
    8: {"dot": "554 5.6.0 odd content"},
}
SUPPRESSED = {1, 2, 3}
ALWAYS_LATER = {20: {"rcpt": "450 4.2.1 later"}, 21: {"dot": "451 4.3.0 later"}}
SOMETIMES_LATER: dict[int, dict[str, Any]] = {
    30: {"rcpt": "451 4.7.1 greylisted", "times": 1},
    31: {"rcpt": "450 4.2.1 later", "times": 2},
    32: {"data": "451 4.3.0 later", "times": 1},
    33: {"dot": "452 4.3.1 later", "times": 2},
    34: {"rcpt": "421 4.3.2 closing", "times": 1},
    35: {"data": "421 4.3.2 closing", "times": 1},
    36: {"dot": "421 4.3.2 closing", "times": 1},
}


def address(number: int) -> str:
    return f"reader-{number}@example.org"


def addresses(numbers: Any) -> set[str]:
    return {address(number) for number in numbers}


def test_f11_a_mail_taken_without_an_answer_is_sent_again_and_flagged(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    # Far apart: five unanswered mails in a row would pause the issue.
    unlucky = addresses(range(1, READERS, 50))
    stage.lose_replies(unlucky)
    stage.send()
    found = stage.finish()
    found.require(dups=len(unlucky))
    assert found.dups == len(unlucky)
    assert found.flagged == unlucky


def test_f23_f24_f25_f29_f30_each_reply_means_what_the_table_says(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=READERS)
    script = {address(number): reply for number, reply in (REFUSALS | ALWAYS_LATER | SOMETIMES_LATER).items()}
    stage.sink.script(script)
    # Eleven waits of the schedule, four days in all, at a hundredth would still be an hour.
    stage.send()
    stage.wait_for_mails(READERS - len(REFUSALS) - len(ALWAYS_LATER))
    # The last of them is written down a moment after its mail is out.
    open_still = "SELECT count(*) FROM newsletters_delivery WHERE state IN ('queued', 'sending')"
    wait_until(lambda: stage.query(open_still) == [(len(ALWAYS_LATER),)], "the others are settled", seconds=180)
    rows = {row["address"]: row for row in stage.site.every(f"/issues/{stage.issue_id}/deliveries")}
    assert {who for who, row in rows.items() if row["state"] == "bounced"} == addresses(REFUSALS)
    for number, reply in SOMETIMES_LATER.items():
        assert rows[address(number)]["attempts"] <= 1 + int(reply["times"])
    last = "UPDATE newsletters_delivery SET attempts = 11, next_at = now() WHERE state = 'queued'"

    def closed() -> bool:
        # Again and again: one that is being attempted just now is queued later.
        stage.query(last)
        return stage.query(open_still) == [(0,)]

    wait_until(closed, "the last attempts are made", seconds=180, pause=0.5)
    found = stage.finish()
    found.require(bounced=addresses(REFUSALS), expired=addresses(ALWAYS_LATER))
    suppressed = stage.query(
        "SELECT s.address FROM newsletters_subscriber s "
        "JOIN newsletters_suppression x USING (publisher_id, address_digest)"
    )
    assert {str(who) for (who,) in suppressed} == addresses(SUPPRESSED)


@pytest.mark.parametrize(
    ("phase", "reply"),
    [
        ("mail", "550 5.7.1 this sender may not"),
        ("mail", "530 5.7.0 authentication required"),
        ("auth", "535 5.7.8 wrong password"),
        ("banner", "554 5.7.1 your address is blocked"),
    ],
)
def test_f28_a_relay_that_refuses_us_costs_no_reader(make_stage: Callable[..., Stage], phase: str, reply: str) -> None:
    stage = make_stage(workers=0)
    who = "courant:secret@" if phase == "auth" else ""
    for _ in range(3):
        stage.site.start_worker(EMAIL_URL=stage.sink.url.replace("//", f"//{who}"))
    stage.prepare(READERS)
    stage.sink.script({"*": {phase: reply}})
    connected = stage.sink.connections()
    stage.send()
    stage.site.wait_for_issue(stage.issue_id, "paused", seconds=300)
    # The other workers hear of it with their next mail, and give their rows back.
    in_hand = "SELECT count(*) FROM newsletters_delivery WHERE state = 'sending'"
    wait_until(lambda: stage.query(in_hand) == [(0,)], "no worker has a row in hand", seconds=180)
    paused = stage.site.ask("GET", f"/issues/{stage.issue_id}/progress")
    assert (paused["queued"], paused["bounced"], paused["uncertain"]) == (READERS, 0, 0)
    rows = stage.site.every(f"/issues/{stage.issue_id}/deliveries")
    assert {row["attempts"] for row in rows} == {0}
    attempts = stage.sink.connections() - connected
    print(f"{attempts} connections")  # noqa: T201
    assert attempts <= MOST_ATTEMPTS
    assert reply in stage.site.ask("GET", f"/issues/{stage.issue_id}")["state_detail"]
    stage.sink.script({})
    stage.site.ask("POST", f"/issues/{stage.issue_id}/resume")
    stage.finish().require()


def test_f16_a_storm_of_pauses_doubles_nobody_and_stops_within_the_mails_in_flight(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(readers=1_000)
    stage.send_slowly(seconds=0.5)
    at_pause = 0
    for _ in range(10):
        # Mails leave between two pauses.
        stage.wait_for_mails(at_pause + 20)
        assert stage.site.call("POST", f"/issues/{stage.issue_id}/pause").status == 200
        at_pause = stage.sink.count()
        stage.rest(seconds=0.5)
        overshoot = stage.sink.count() - at_pause
        assert overshoot <= stage.connections
        at_pause += overshoot
        assert stage.site.call("POST", f"/issues/{stage.issue_id}/resume").status == 200
    stage.finish().require()


def test_f17_cancelling_ends_with_the_mails_in_flight(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=600)
    stage.send_slowly()
    stage.wait_for_mails(100)
    assert stage.site.call("POST", f"/issues/{stage.issue_id}/cancel").status == 200
    at_cancel = stage.sink.count()
    stage.site.wait_for_issue(stage.issue_id, "cancelled", seconds=180)
    stage.wait_until_closed()
    assert stage.sink.count() - at_cancel <= stage.connections
    assert stage.site.call("POST", f"/issues/{stage.issue_id}/cancel").status == 200
    found = account(stage.site, stage.issue_id, stage.sink, stage.expected)
    found.require(cancelled=stage.expected - found.by_state["sent"])


def test_f18_who_leaves_while_an_issue_is_sent_gets_nothing_more(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(readers=600)
    leavers = addresses(range(1, 600, 4))
    # Half of them are waiting for their next attempt when they leave.
    later: dict[str, dict[str, Any]] = {who: {"rcpt": "450 4.2.1 later", "times": 1} for who in sorted(leavers)[::2]}
    stage.sink.script(later | {"*": {"delay": 0.3}})
    stage.send()
    stage.wait_for_mails(60)
    stage.query(
        "UPDATE newsletters_subscription SET state = 'unsubscribed' FROM newsletters_subscriber r "
        "WHERE r.id = subscriber_id AND r.address = ANY(%s)",
        sorted(leavers),
    )
    before = {mail.recipient for mail in stage.sink.mails()}
    found = stage.finish()
    had = {mail.recipient for mail in stage.sink.mails()} & leavers
    assert len(had - before) <= stage.connections
    assert had < leavers
    found.require(suppressed=leavers - had)
