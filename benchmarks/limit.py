"""(a) The machine's limit: Postfix's own client into the same sink."""

from __future__ import annotations

import os
import subprocess
import time

from benchmarks.stage import Stage
from tests.services.processes import find_program


def measure(stage: Stage) -> None:
    """Send as many mails as (c) does, as long as ours on average, over 8 sessions that stay open."""
    mails, size = stage.options.readers, round(stage.mail.size)
    command = [find_program("smtp-source", "postfix"), "-d", "-s", "8", "-l", str(size), "-m", str(mails)]
    command.append(f"127.0.0.1:{stage.sink.port}")
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=os.environ)  # noqa: S603  # our own command
    stage.figures.add("limit_per_s", mails / (time.monotonic() - began))
