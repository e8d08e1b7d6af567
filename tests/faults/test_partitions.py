"""F33, F34: a worker in a network of its own that loses its database, its relay or its broker for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.faults.stage import LANES, LEASE_SECONDS, SHORT_LEASE, Stage
from tests.services.machine import NETWORKS, require
from tests.services.network import Link, Network

READERS = 300
PERMITTED = (
    "SELECT r.address FROM newsletters_delivery d JOIN newsletters_subscription s ON s.id = d.subscription_id "
    "JOIN newsletters_subscriber r ON r.id = s.subscriber_id WHERE d.state = 'sending' AND d.gated"
)
# A connection without an answer is given up after 2 s in place of a minute.
IMPATIENT = "?tcp_user_timeout=2000&connect_timeout=2"


@pytest.fixture
def network() -> Iterator[Network]:
    require(NETWORKS)
    with Network() as made:
        yield made


def isolate(stage: Stage, network: Network, *, query: str = "") -> dict[str, Link]:
    """Start a worker inside and have it send; return its links by the variables that name the servers."""
    ports = {"DATABASE_URL": stage.database.port, "EMAIL_URL": stage.sink.port, "BROKER_URL": stage.broker.port}
    links = {name: network.link(port) for name, port in ports.items()}
    variables = stage.by_way_of(**{name: link.proxy for name, link in links.items()})
    variables["DATABASE_URL"] += query
    stage.site.start_worker(within=network.within, **variables)
    stage.prepare(READERS)
    # Each lane has a mail past the dot nearly all the time, and the issue outlasts the start of the slowest worker.
    stage.send_slowly(seconds=2)
    stage.wait_until_all_deliver()
    stage.wait_for_mails(READERS // 6)
    return links


def cut_for(seconds: float, stage: Stage, link: Link, *, copies: int) -> None:
    """Cut a link for so long, and check that nobody is lost and so many more mails at the most are doubled."""
    stage.bound += copies
    link.cut()
    stage.rest(seconds=seconds)
    link.mend()
    found = stage.finish()
    print(f"{found.dups} copies, {stage.bound} allowed")  # noqa: T201
    found.require(dups=stage.bound)


def test_f33_outcomes_in_memory_are_committed_when_their_leases_survive_a_partition(
    make_stage: Callable[..., Stage], network: Network
) -> None:
    stage = make_stage(workers=0, DELIVERY_LEASE_SECONDS="300")
    database = isolate(stage, network)["DATABASE_URL"]
    database.cut()
    stopped_at = stage.wait_until_quiet(seconds=4)
    permitted = {str(who) for (who,) in stage.query(PERMITTED)}
    in_memory = {mail.recipient for mail in stage.sink.mails()} & permitted
    assert in_memory
    assert len(in_memory) <= LANES
    stage.rest(seconds=2)
    # Without a commit, no lane begins another mail.
    assert stage.sink.count() == stopped_at
    database.mend()
    found = stage.finish()
    found.require()
    assert in_memory <= found.by_state["sent"]
    assert not found.flagged


def test_f33_a_partition_that_outlasts_leases_and_connections_doubles_at_most_what_was_in_hand(
    make_stage: Callable[..., Stage], network: Network
) -> None:
    stage = make_stage(workers=1, **SHORT_LEASE)
    database = isolate(stage, network, query=IMPATIENT)["DATABASE_URL"]
    cut_for(2 * LEASE_SECONDS, stage, database, copies=LANES)


@pytest.mark.parametrize(("server", "copies"), [("EMAIL_URL", LANES), ("BROKER_URL", 0)])
def test_f34_a_partition_from_relay_or_broker_is_survived(
    make_stage: Callable[..., Stage], network: Network, server: str, copies: int
) -> None:
    stage = make_stage(workers=1)
    link = isolate(stage, network)[server]
    cut_for(5, stage, link, copies=copies)


def test_f34_a_partition_that_outlasts_the_time_out_at_the_dot_doubles_at_most_what_was_in_hand(
    make_stage: Callable[..., Stage], network: Network
) -> None:
    # Fewer lanes than the unanswered mails in a row that would pause the issue, and 18 s in place of 600 at the dot.
    lanes = 4
    stage = make_stage(workers=1, DELIVERY_LANES=str(lanes), EMAIL_TIMEOUT="10", SMTP_PATIENCE_PERCENT="3")
    relay = isolate(stage, network)["EMAIL_URL"]
    cut_for(24, stage, relay, copies=lanes)
