"""(c), (d) and the memory of (g): an issue to 50,000 readers, from `send` to `sent`."""

from __future__ import annotations

from benchmarks import database_cost, processor
from benchmarks.database_cost import DatabaseCost
from benchmarks.installation import Installation, Row
from benchmarks.stage import Stage
from tests.services.processes import ServiceError
from tests.services.rabbitmq import Rabbitmq
from tests.services.redis_server import RedisServer

STATEMENTS_SHOWN = 12
STATEMENT_WIDTH = 90


def measure(stage: Stage, broker: Rabbitmq | RedisServer) -> None:
    """Measure one issue with fresh workers: mails a second, memory, and what each mail cost."""
    courant = stage.installation("readers", broker=broker)
    newsletter = stage.readers
    with courant.workers() as root:
        send(stage, courant, newsletter, root, name=broker.name)
        if isinstance(broker, Rabbitmq):
            stage.figures.add("rss_50k_mb", processor.peak_memory_mb(root))
    courant.forget_issues()


def send(stage: Stage, courant: Installation, newsletter: Row, root: int, *, name: str) -> None:
    """Send an issue and note rate and costs under a name."""
    issue = courant.draft(newsletter)
    cost = DatabaseCost(courant.connection)
    stopwatch = processor.Stopwatch(courant.roots | {"workers": root, "sink": stage.sink.running.pid})
    sent = courant.send(issue)
    if sent.mails != stage.options.readers:
        raise ServiceError(f"only {sent.mails} of {stage.options.readers} mails were sent\n{courant.site.logs()}")
    figures = stage.figures
    figures.add(f"{name}_per_s", sent.mails / sent.seconds)
    figures.add(f"{name}_first_mail_s", sent.first_mail_seconds)
    for group, used in stopwatch.used().items():
        figures.add(f"{name}_cpu_us_{group.lower()}", used / sent.mails * 1e6)
    for what, count in cost.used().items():
        figures.add(f"{name}_{what}_per_mail", count / sent.mails)


def count_statements(stage: Stage) -> None:
    """Send one issue while PostgreSQL counts every statement, and remark on the most expensive ones."""
    courant = stage.installation("readers", broker=stage.rabbitmq)
    newsletter = stage.readers
    with courant.workers() as root:
        database_cost.count_statements(courant.connection, on=True)
        send(stage, courant, newsletter, root, name="counted")
        found = database_cost.statements(courant.connection)
        database_cost.count_statements(courant.connection, on=False)
    courant.forget_issues()
    mails = stage.options.readers
    stage.figures.add("statements_per_mail", sum(calls for calls, *_ in found) / mails)
    lines = ["Statements: calls, rows and µs for each mail, WAL bytes for each mail"]
    lines += [
        f"  {calls / mails:6.3f} {rows / mails:6.2f} {milliseconds * 1000 / mails:7.1f} {wal / mails:8.0f}  "
        f"{text[:STATEMENT_WIDTH]}"
        for calls, rows, milliseconds, wal, text in found[:STATEMENTS_SHOWN]
    ]
    stage.figures.remark("\n".join(lines))
