"""F26, F27: a relay that is a tarpit, or cannot be reached at all. Time-outs are a twentieth of RFC 5321's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.delivery.authority import authority_file, server_context
from tests.faults.stage import Stage
from tests.services.processes import wait_until
from tests.services.sinks import SmtpSink
from tests.services.tcp_proxy import Mode, TcpProxy

READERS = 100
# Connecting: 3 s a step. A mail: 15 s at MAIL and RCPT, 9 s for the body, 30 s at the dot, longer than a lease.
IMPATIENT = {"EMAIL_TIMEOUT": "3", "SMTP_PATIENCE_PERCENT": "5", "DELIVERY_LEASE_SECONDS": "20"}
# A mail of half a megabyte, more than the buffers of a narrow sink and its client hold.
LONG_BODY = ("A line of a long letter, which goes on and on. " * 10 + "\n\n") * 500
LONG_READERS = 40
DOUBTED = "SELECT id FROM newsletters_delivery WHERE uncertain_outcomes > 0 AND state IN ('queued', 'sending')"
HANGS = {"rcpt": {1, 9}, "body": {14, 20}, "dot": {25, 30, 38}}


@pytest.fixture
def narrow_sink() -> Iterator[SmtpSink]:
    sink = SmtpSink("narrow")
    try:
        sink.start()
        sink.clear()
        yield sink
    finally:
        sink.stop()


def addresses(numbers: set[int]) -> set[str]:
    return {f"reader-{number}@example.org" for number in numbers}


def untouched(stage: Stage) -> None:
    """Check that the relay's trouble has cost no reader an attempt, and that the issue is still being sent."""
    rows = stage.query("SELECT state, attempts, uncertain FROM newsletters_delivery")
    assert set(rows) <= {("queued", 0, False), ("sending", 0, False)}
    assert stage.query("SELECT state FROM newsletters_issue") == [("sending",)]


def test_f26_a_tarpit_holds_a_mail_until_its_deadline_and_nobody_else(
    make_stage: Callable[..., Stage], narrow_sink: SmtpSink
) -> None:
    # Of a connection that has carried mails, the kernel's own buffers have grown to some megabytes.
    stage = make_stage(EMAIL_URL=narrow_sink.url, EMAIL_CONNECTION_MAILS="1", **IMPATIENT)
    stage.sink = narrow_sink
    stage.prepare(LONG_READERS, body=LONG_BODY)
    # A banner that would take a minute.
    stage.sink.script({"*": {"drip": 1.0}})
    connected = stage.sink.connections()
    stage.send()
    wait_until(lambda: stage.sink.connections() > connected + 2, "a banner was given up", seconds=180)
    untouched(stage)
    script: dict[str, dict[str, Any]] = {
        who: {"hang": phase, "times": 1} for phase, numbers in HANGS.items() for who in addresses(numbers)
    }
    stage.sink.script(script)
    stage.bound += len(HANGS["dot"])
    found = stage.finish()
    found.require(dups=stage.bound)
    assert found.dups == stage.bound
    assert found.flagged == addresses(HANGS["dot"])
    rows = {row["address"]: row["attempts"] for row in stage.site.every(f"/issues/{stage.issue_id}/deliveries")}
    assert {rows[who] for who in script} == {2}
    # Every lease was kept for as long as its mail hung.
    assert stage.query("SELECT DISTINCT kills FROM newsletters_delivery") == [(0,)]


def test_f27_a_relay_that_cannot_be_reached_costs_nobody_an_attempt(make_stage: Callable[..., Stage]) -> None:
    # Fewer than the unanswered mails in a row that would pause the issue.
    lanes = 2
    stage = make_stage(workers=0, DELIVERY_LANES=str(lanes))
    with TcpProxy(stage.sink.port, tls=server_context(days=-1)) as relay:
        url = f"smtps://localhost:{relay.port}"
        for _ in range(2):
            stage.site.start_worker(EMAIL_URL=url, EMAIL_TIMEOUT="3", SSL_CERT_FILE=str(authority_file()))
        stage.prepare(READERS * 3)
        stage.send_slowly(seconds=0.05)
        # An expired certificate, no server, a reset, no word of a handshake.
        for mode in (Mode.FORWARD, Mode.REFUSE, Mode.RESET, Mode.SILENT):
            relay.turn(mode)
            time.sleep(4)
            untouched(stage)
        assert stage.sink.count() == 0
        relay.tls = server_context()
        relay.turn(Mode.FORWARD)
        for turn in range(2):
            stage.wait_for_mails((turn + 1) * READERS)
            # A second doubt about the same mail would hold it.
            wait_until(lambda: stage.query(DOUBTED) == [], "the doubted mails are out", seconds=300)
            stage.bound += 2 * lanes
            relay.reset()
        found = stage.finish()
    print(f"{found.dups} copies, {stage.bound} allowed")  # noqa: T201
    found.require(dups=stage.bound)


def test_f27_a_relay_whose_name_does_not_resolve_costs_nobody_an_attempt(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(workers=0)
    stage.site.start_worker(EMAIL_URL="smtp://relay.invalid", EMAIL_TIMEOUT="2")
    stage.prepare(READERS)
    stage.send()
    time.sleep(5)
    untouched(stage)
    # The operator mends the setting.
    stage.site.workers.pop().stop()
    stage.site.start_worker()
    stage.finish().require()
