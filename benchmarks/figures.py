"""The figures of one run: every measured value by its name, the medians, and the bars they are held against."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# What `make bench JSON=FILE` always writes, null when it was not measured.
KEYS = (
    "limit_per_s",
    "baseline_per_s",
    "rabbitmq_per_s",
    "redis_per_s",
    "fan_out_1m_s",
    "first_mail_1m_s",
    "rss_50k_mb",
    "rss_1m_mb",
    "slow_sink_ratio",
    "send_p50_ms_1k",
    "send_p99_ms_1k",
    "send_p99_ms_1m",
    "import_rows_per_s",
)


@dataclass
class Figures:
    """Values by name in the order of the rounds, remarks for below the table, and parts that failed."""

    values: dict[str, list[float]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def add(self, name: str, value: float) -> None:
        """Note one round's value."""
        self.values.setdefault(name, []).append(value)

    def remark(self, text: str) -> None:
        """Note something that a reader of the table should know; said once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def median(self, name: str) -> float | None:
        """Return the median of a figure, None when it was not measured."""
        found = self.values.get(name)
        return statistics.median(found) if found else None

    def ratio(self, above: str, below: str) -> float | None:
        """Return the median of the rounds' own ratios: both values of each are from the same minutes."""
        pairs = list(zip(self.values.get(above, []), self.values.get(below, []), strict=False))
        return statistics.median(one / other for one, other in pairs) if pairs else None

    def write(self, path: Path) -> None:
        """Write the medians as JSON: all of KEYS, then whatever else was measured."""
        names = [*KEYS, *(name for name in self.values if name not in KEYS)]
        ratios = {bar.key: bar.value(self) for bar in BARS if bar.key not in names}
        found = {name: self.median(name) for name in names} | ratios
        rounded = {name: None if value is None else round(value, 3) for name, value in found.items()}
        path.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Bar:
    """What a figure must reach: at least or at most `bound`."""

    key: str
    value: Callable[[Figures], float | None]
    bound: float
    at_most: bool = False

    def met(self, figures: Figures) -> bool | None:
        """Say whether the bar is met; None when it was not measured."""
        found = self.value(figures)
        if found is None:
            return None
        return found <= self.bound if self.at_most else found >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:,g}"


def _median(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(name)


def _ratio(above: str, below: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(above, below)


BARS = (
    Bar("rabbitmq_to_baseline", _ratio("rabbitmq_per_s", "baseline_per_s"), 8),
    Bar("rabbitmq_to_limit", _ratio("rabbitmq_per_s", "limit_per_s"), 0.25),
    Bar("redis_to_rabbitmq", _ratio("redis_per_s", "rabbitmq_per_s"), 0.9),
    Bar("fan_out_1m_s", _median("fan_out_1m_s"), 12, at_most=True),
    Bar("first_mail_1m_s", _median("first_mail_1m_s"), 1, at_most=True),
    Bar("rss_1m_mb", _median("rss_1m_mb"), 150, at_most=True),
    Bar("rss_1m_to_50k", _ratio("rss_1m_mb", "rss_50k_mb"), 1.1, at_most=True),
    Bar("slow_sink_ratio", _median("slow_sink_ratio"), 0.9),
    Bar("send_p99_ms_1k", _median("send_p99_ms_1k"), 50, at_most=True),
    Bar("send_p99_ms_1m", _median("send_p99_ms_1m"), 50, at_most=True),
    Bar("import_rows_per_s", _median("import_rows_per_s"), 15_000),
    Bar("fairness_issue_s", _median("fairness_issue_s"), 2, at_most=True),
    Bar("fairness_notice_s", _median("fairness_notice_s"), 2, at_most=True),
    Bar("sign_up_broker_dead_ratio", _ratio("sign_up_p99_ms_broker_dead", "sign_up_p99_ms_alive"), 1.2, at_most=True),
    Bar("sign_up_relay_dead_ratio", _ratio("sign_up_p99_ms_relay_dead", "sign_up_p99_ms_alive"), 1.2, at_most=True),
    Bar("sign_up_link_s", _median("sign_up_link_s"), 2, at_most=True),
    Bar("rate_off_percent", _median("rate_off_percent"), 5, at_most=True),
    Bar("tarpit_ratio", _median("tarpit_ratio"), 0.9),
)
