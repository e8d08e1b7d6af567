"""(k) The API's hot requests through gunicorn, loaded by wrk, beside bare Django in the same minutes."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.installation import Installation, Row
from benchmarks.stage import Stage
from tests.services.environment import ROOT
from tests.services.processes import Program, ServiceError, answers, find_program, free_port

READERS = 1_000
CONNECTIONS = 16
WARM_UP_SECONDS = 2
# Higher than any rate here: the limits' own cost belongs to a request.
UNLIMITED = "100000"
LEDGER = """
INSERT INTO newsletters_delivery (issue_id, subscription_id, state, settled_at)
SELECT %s, id, 'sent', now() FROM newsletters_subscription WHERE newsletter_id = %s
"""
LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


def measure(stage: Stage) -> None:
    """Load each address in turn with as many connections as gunicorn has threads."""
    limits = {"API_KEY_RATE": UNLIMITED, "API_ADDRESS_RATE": UNLIMITED}
    with stage.own_installation("requests", broker=stage.redis, **limits) as courant, _bare_django() as bare:
        newsletter = courant.newsletter(READERS)
        issue = _followed_issue(courant, newsletter)
        api, key = f"{courant.site.address}/api/v1", courant.site.key
        addresses = {
            "bare": bare,
            "progress": f"{api}/issues/{issue.uid}/progress",
            "list_100": f"{api}/newsletters/{newsletter.uid}/subscriptions?limit=100",
            "subscribe": f"{api}/newsletters/{newsletter.uid}/subscriptions",
        }
        for name, address in addresses.items():
            for seconds in (WARM_UP_SECONDS, stage.options.request_seconds):
                found = _load(address, key, seconds, posts=name == "subscribe")
            for fact, value in found.items():
                stage.figures.add(f"requests_{name}_{fact}", value)


def _followed_issue(courant: Installation, newsletter: Row) -> Row:
    """Return an issue whose ledger has a row for each reader; no worker runs, so it stays as it is."""
    issue = courant.draft(newsletter)
    courant.post_send(issue)
    courant.connection.execute(LEDGER, [issue.pk, newsletter.pk])
    courant.connection.execute("ANALYZE")
    return issue


def _load(address: str, key: str, seconds: int, *, posts: bool) -> dict[str, float]:
    """Return requests a second and milliseconds; raise ServiceError when one was not answered with success."""
    command = [find_program("wrk", "wrk"), "--threads", "2", "--connections", str(CONNECTIONS), "--latency"]
    command += ["--duration", f"{seconds}s"]
    if posts:
        word = secrets.token_hex(6)
        command += ["--script", str(Path(__file__).with_name("new_readers.lua")), address, "--", key, word]
    else:
        command += ["--header", f"Authorization: Bearer {key}", address]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  # our own command
    return read(done.stdout)


def read(output: str) -> dict[str, float]:
    """Return what wrk measured. Raises ServiceError when requests failed."""
    failed = re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", output)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)$", output, re.MULTILINE)
    if failed or rate is None:
        raise ServiceError(f"wrk: {failed[0] if failed else output}")
    took = {f"p{percent}_ms": float(value) * MILLISECONDS[unit] for percent, value, unit in LATENCY.findall(output)}
    return {"per_s": float(rate[1])} | took


@contextmanager
def _bare_django() -> Iterator[str]:
    """Serve bare Django as config/gunicorn.py serves Courant; give its address."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), "WEB_CONCURRENCY": "2"}
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py", "--chdir", str(ROOT)]
    with tempfile.TemporaryDirectory(prefix="courant-bare-") as folder:
        log = Path(folder) / "web.log"
        program = Program([*command, "benchmarks.bare.site:application"], log=log, environment=environment)
        try:
            program.wait_ready(lambda: answers(port), seconds=30)
            yield f"http://127.0.0.1:{port}/constant"
        finally:
            program.kill()
