"""What real web processes count and write down beside their answers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services.processes import wait_until
from tests.services.site import Answer, Site


@pytest.mark.parametrize("set_up", ["embedded", "redis"])
def test_a_web_process_that_ends_in_order_writes_what_it_answered(make_site: Callable[..., Site], set_up: str) -> None:
    site = make_site(set_up, WEB_CONCURRENCY="2", API_REQUEST_LOG_DAYS="30")
    site.start_web()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _number: site.call("GET", "/newsletters"), range(20)))
    assert site._web is not None
    site._web.send(signal.SIGTERM)
    site._web.wait(120)
    site.start_web()
    wait_until(lambda: len(site.every("/api-requests")) > 20, "its own requests are written", seconds=180)
    found = {one["request_id"] for one in site.every("/api-requests") if one["operation"] == "list_newsletters"}
    assert found == {answer.headers["X-Request-Id"] for answer in answers}
    shown = site.manage("shell", "--no-imports", "-c", LAST_USED)
    assert shown.strip() == "True"


LAST_USED = "from accounts.models import ApiKey; print(ApiKey.objects.get().last_used_at is not None)"


def test_two_web_processes_count_together(make_site: Callable[..., Site]) -> None:
    site = make_site("redis", WEB_CONCURRENCY="2", API_ADDRESS_RATE="5")
    site.start_web()
    started = time.monotonic()
    answers: list[Answer] = []
    refused: list[Answer] = []
    with ThreadPoolExecutor(8) as pool:
        # A machine with much to do may take some time to be faster than the limit.
        while not refused and len(answers) < 3000:
            answers += pool.map(lambda _number: site.fetch(f"{site.address}/api/v1/newsletters"), range(60))
            refused = [answer for answer in answers if answer.status == 429]
    seconds = time.monotonic() - started
    assert {answer.status for answer in answers} == {401, 429}
    assert len(answers) - len(refused) <= 5 + 5 * (seconds + 1)
    for answer in refused:
        assert answer.json["code"] == "rate_limited"
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["RateLimit-Policy"] == '"address";q=5;w=1'
        assert answer.headers["RateLimit"].startswith('"address";r=0;t=')
    # A good key is heard all the same.
    assert site.call("GET", "/newsletters").status == 200
