"""(i) `POST send` while no worker runs: what a request costs that starts an issue, for audiences of two sizes."""

from __future__ import annotations

import itertools
import statistics

from benchmarks.stage import Stage

WARM_UP = 10


def measure(stage: Stage) -> None:
    """Send fresh issues to both audiences in turn, each by a request and a connection of its own."""
    courant = stage.installation("million", broker=stage.rabbitmq)
    audiences = {"1k": stage.thousand, "1m": stage.million}
    took: dict[str, list[float]] = {name: [] for name in audiences}
    drafts = {
        name: [courant.draft(newsletter) for _ in range(stage.options.posts + WARM_UP)]
        for name, newsletter in audiences.items()
    }
    for number, name in itertools.product(range(stage.options.posts + WARM_UP), audiences):
        _, seconds = courant.post_send(drafts[name][number])
        if number >= WARM_UP:
            took[name].append(seconds * 1000)
    courant.forget_issues()
    for name, found in took.items():
        stage.figures.add(f"send_p50_ms_{name}", statistics.median(found))
        stage.figures.add(f"send_p99_ms_{name}", percentile(found, 99))


def percentile(values: list[float], percent: int) -> float:
    """Return the value that so many percent of the values do not exceed (linear interpolation)."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
