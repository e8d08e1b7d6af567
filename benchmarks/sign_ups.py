"""(l) Signing up while the broker or the relay is dead; and, beside the table, during a large issue."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from benchmarks.fairness import LIMIT_SECONDS, SETTLED, TRIALS, UNDER_WAY
from benchmarks.installation import Installation
from benchmarks.posts import percentile
from benchmarks.servers import PlainSink, running
from benchmarks.stage import Stage
from tests.services.processes import ServiceError, wait_until

WARM_UP = 10
REPAIRED_SECONDS = 180
# Each visitor comes from an address of their own, as the trusted proxy says: no limit is met.
VARIABLES = {"SIGN_UP": "open", "TRUSTED_PROXY_COUNT": "1"}
UNSENT = "SELECT count(*) FROM accounts_accountmail WHERE state <> 'sent'"
LINK_TAKEN = "SELECT extract(epoch FROM max(sent_at)) FROM accounts_accountmail WHERE to_address = %s"
_numbers = itertools.count(1)


class Server(Protocol):
    """What can be killed and started again."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


def measure(stage: Stage) -> None:
    """Sign up one after the other while all works, the broker is dead, and the relay is; every link must arrive."""
    with (
        running(PlainSink()) as relay,
        stage.own_installation("sign_ups", broker=stage.rabbitmq, email_url=relay.url, **VARIABLES) as courant,
        courant.workers(warm=False),
    ):
        states: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "alive": contextlib.nullcontext,
            "broker_dead": lambda: _dead(stage.rabbitmq),
            "relay_dead": lambda: _dead(relay),
        }
        took: dict[str, list[float]] = {name: [] for name in states}
        # Back and forth, so that none has only the warmer processes.
        for name in [*states, *reversed(states)]:
            with states[name]():
                for _ in range(WARM_UP):
                    sign_up(courant)
                took[name] += [sign_up(courant)[1] * 1000 for _ in range(max(1, stage.options.sign_ups // 2))]
            # After an unreachable relay a mail waits for a minute.
            courant.connection.execute("UPDATE accounts_accountmail SET next_at = now() WHERE state = 'queued'")
            wait_until(lambda: courant.ask(UNSENT)[0] == 0, "every link is out", seconds=REPAIRED_SECONDS, pause=0.1)
        for name, found in took.items():
            stage.figures.add(f"sign_up_p50_ms_{name}", statistics.median(found))
            stage.figures.add(f"sign_up_p99_ms_{name}", percentile(found, 99))


def measure_links(stage: Stage) -> None:
    """Sign up five times during an issue, one after the other; the slowest link counts, once it is recorded as sent."""
    with stage.own_installation("links", broker=stage.rabbitmq, **VARIABLES) as courant:
        large = courant.newsletter(stage.options.running_readers)
        with courant.workers():
            issue = courant.draft(large)
            courant.post_send(issue)
            enough = min(UNDER_WAY, stage.options.running_readers // 10)
            wait_until(
                lambda: courant.ask(SETTLED, issue.pk, enough)[0] == enough, "the issue runs", seconds=LIMIT_SECONDS
            )
            stage.figures.add("sign_up_link_s", max(_link(courant) for _ in range(TRIALS)))
            if courant.ask("SELECT state FROM newsletters_issue WHERE id = %s", issue.pk)[0] != "sending":
                stage.figures.remark("The large issue ended before the last sign-up: take more --running-readers.")
            courant.pause(issue, may_be_sent=True)


def sign_up(courant: Installation) -> tuple[str, float]:
    """Post the form for an address that nobody has, on a connection of its own; return it and the seconds it took."""
    number = next(_numbers)
    # A cookie of the visitor's and the form's token need only agree: the page itself is not measured.
    token = secrets.token_hex(16)
    fields = {"email": f"visitor-{number}@example.org", "password1": secrets.token_hex(12), "name": "A visitor"}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": f"courant-csrf={token}"}
    headers["X-Forwarded-For"] = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    connection = http.client.HTTPConnection(urlsplit(courant.site.address).netloc, timeout=LIMIT_SECONDS)
    began = time.monotonic()
    connection.request("POST", "/account/signup/", urlencode(fields | {"csrfmiddlewaretoken": token}), headers)
    answer = connection.getresponse()
    body = answer.read()
    took = time.monotonic() - began
    connection.close()
    if answer.status != HTTPStatus.FOUND:
        raise ServiceError(f"sign-up: {answer.status} {body.decode()}\n{courant.site.logs()}")
    return fields["email"], took


def _link(courant: Installation) -> float:
    began = time.time()
    address, _ = sign_up(courant)
    wait_until(lambda: courant.ask(LINK_TAKEN, address)[0] is not None, "it left", seconds=LIMIT_SECONDS)
    return float(courant.ask(LINK_TAKEN, address)[0]) - began


@contextlib.contextmanager
def _dead(server: Server) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()
