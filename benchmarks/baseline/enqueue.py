"""Enqueue the newsletter to so many readers: `python -m benchmarks.baseline.enqueue 5000`.

Prints when it began, in seconds since the epoch.
"""

from __future__ import annotations

import sys
import time

import django

django.setup()

from benchmarks.baseline.tasks import send_newsletter  # noqa: E402  # actors need the broker first

if __name__ == "__main__":
    print(time.time(), flush=True)
    for number in range(int(sys.argv[1])):
        send_newsletter.send(f"reader-{number}@d{number % 500}.example.net", f"Reader {number}")
