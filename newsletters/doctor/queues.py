"""What the length of a queue means, on either broker."""

from __future__ import annotations

from collections.abc import Iterator

from newsletters.doctor.findings import Finding, ok, warning

# The clock rings again only while something is due; more than this was not fetched for long.
LONG_QUEUE = 1_000


def depth(name: str, *, messages: int, dead: int, consumers: int | None, purge: str) -> Iterator[Finding]:
    """Judge one queue. `messages` counts delayed ones too, `dead` those given up, `consumers` is None if unknown.

    `purge` is the command that forgets the dead ones.
    """
    if consumers == 0:
        yield warning(
            "broker.no_consumer",
            f"Nobody takes from the queue {name} ({messages} waiting).",
            "python manage.py worker",
        )
    elif messages > LONG_QUEUE:
        yield warning(
            "broker.queue_long",
            f"The queue {name} has {messages:,} messages.",
            "Start more workers, and look in their log for what each waits for.",
        )
    else:
        taken = "" if consumers is None else f" and {consumers} consumer(s)"
        yield ok("broker.queue", f"The queue {name} has {messages} message(s){taken}.")
    if dead:
        yield warning(
            "broker.dead_letters",
            f"The queue {name} has given up {dead:,} message(s); the work itself is in the database.",
            f"Look for the cause in the workers' log, then forget them: {purge}",
        )
