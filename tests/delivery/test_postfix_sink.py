"""An independent witness: Postfix's own `smtp-sink` takes our mails, and breaks off where it is told to."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from newsletters.delivery.replies import Outcome, Phase, Verdict
from newsletters.delivery.smtp import Relay, connect
from tests.delivery.links import MAIL
from tests.services.sinks import PostfixSink

CONNECTIONS, MAILS = 8, 5


def send_to(sink: PostfixSink) -> list[Outcome]:
    """Send different mails over several connections at once; returns the outcomes."""
    port = urlsplit(sink.url).port
    assert port is not None

    async def lane(number: int) -> list[Outcome]:
        connection, outcomes = await connect(Relay("127.0.0.1", port)), []
        for turn in range(MAILS):
            if connection.usable:
                mail = dataclasses.replace(MAIL, recipient=f"reader-{number}-{turn}@example.org")
                outcomes.append(await connection.send(mail))
        connection.close()
        return outcomes

    async def all_lanes() -> list[list[Outcome]]:
        return await asyncio.gather(*(lane(number) for number in range(CONNECTIONS)))

    return [outcome for outcomes in asyncio.run(all_lanes()) for outcome in outcomes]


@pytest.fixture
def sink_with(request: pytest.FixtureRequest) -> Callable[..., PostfixSink]:
    def start(*options: str) -> PostfixSink:
        sink = PostfixSink(*options)
        request.addfinalizer(sink.stop)
        sink.start()
        return sink

    return start


@pytest.mark.parametrize("options", [(), ("-p",), ("-e",)], ids=["pipelining", "none offered", "HELO only"])
def test_postfix_takes_every_mail_once(sink_with: Callable[..., PostfixSink], options: tuple[str, ...]) -> None:
    sink = sink_with(*options)
    assert Counter(outcome.verdict for outcome in send_to(sink)) == {Verdict.SENT: CONNECTIONS * MAILS}
    mails = sink.mails()
    readers = {line for mail in mails for line in mail.splitlines() if line.startswith(b"X-Rcpt-Args:")}
    assert (len(mails), len(readers)) == (CONNECTIONS * MAILS, CONNECTIONS * MAILS)
    # Postfix writes a mail down as it came, with its own line ends.
    assert all(b"\n.leading dot\nend\n" in mail.replace(b"\r\n", b"\n") for mail in mails)


@pytest.mark.parametrize(
    ("command", "phase", "verdicts"),
    [
        ("MAIL", Phase.MAIL, (Verdict.RELAY_FAULT, Verdict.RELAY_FAULT)),
        ("RCPT", Phase.RCPT, (Verdict.DEFERRED, Verdict.DEFERRED)),
        ("DATA", Phase.DATA, (Verdict.DEFERRED, Verdict.DEFERRED)),
        (".", Phase.DOT, (Verdict.UNCERTAIN, Verdict.DEFERRED)),
    ],
)
def test_postfix_breaks_off_with_and_without_421(
    sink_with: Callable[..., PostfixSink], command: str, phase: Phase, verdicts: tuple[Verdict, Verdict]
) -> None:
    for option, verdict in zip(("-q", "-Q"), verdicts, strict=True):
        outcomes = send_to(sink_with(option, command))
        assert Counter((one.verdict, one.phase) for one in outcomes) == {(verdict, phase): CONNECTIONS}
