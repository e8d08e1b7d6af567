"""The table on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from benchmarks.figures import BARS, Figures

TITLES = {
    "limit_per_s": "(a) smtp-source, mails/s",
    "baseline_per_s": "(b) tutorial baseline, mails/s",
    "rabbitmq_per_s": "(c) Courant on RabbitMQ, mails/s",
    "rabbitmq_to_baseline": "    (c)/(b)",
    "rabbitmq_to_limit": "    (c)/(a)",
    "redis_per_s": "(d) Courant on Redis, mails/s",
    "redis_to_rabbitmq": "    (d)/(c)",
    "fan_out_1m_s": "(e) fan-out of 1M while delivering, s",
    "fan_out_1m_paused_s": "    the same, paused, s",
    "first_mail_1m_s": "(f) POST to first mail at 1M, s",
    "first_mail_1m_from_start_s": "    started_at to first mail, s",
    "rss_50k_mb": "(g) peak RSS of a worker at 50k, MB",
    "rss_1m_mb": "    peak RSS of a worker at 1M, MB",
    "rss_1m_to_50k": "    1M/50k",
    "million_per_s": "    mails/s of the 1M",
    "slow_sink_per_s": "(h) sink of 20 ms, mails/s",
    "slow_best_per_s": "    best possible, mails/s",
    "slow_client_per_s": "    bare pipelining client, mails/s",
    "slow_sink_ratio": "    ours/best possible",
    "send_p50_ms_1k": "(i) POST send, audience 1k, p50 ms",
    "send_p99_ms_1k": "    audience 1k, p99 ms",
    "send_p50_ms_1m": "    audience 1M, p50 ms",
    "send_p99_ms_1m": "    audience 1M, p99 ms",
    "import_rows_per_s": "(j) import of 1M rows, rows/s",
    "import_upload_s": "    upload, s",
    "requests_bare_per_s": "(k) bare Django, constant JSON, requests/s",
    "requests_progress_per_s": "    GET progress, requests/s",
    "requests_list_100_per_s": "    a list of 100, requests/s",
    "requests_subscribe_per_s": "    POST subscriptions, requests/s",
    "requests_bare_p99_ms": "    bare Django, p99 ms",
    "requests_progress_p99_ms": "    GET progress, p99 ms",
    "requests_list_100_p99_ms": "    a list of 100, p99 ms",
    "requests_subscribe_p99_ms": "    POST subscriptions, p99 ms",
    "sign_up_p50_ms_alive": "(l) POST sign-up, p50 ms",
    "sign_up_p99_ms_alive": "    p99 ms",
    "sign_up_p50_ms_broker_dead": "    broker dead, p50 ms",
    "sign_up_p99_ms_broker_dead": "    broker dead, p99 ms",
    "sign_up_broker_dead_ratio": "    p99, broker dead/alive",
    "sign_up_p50_ms_relay_dead": "    relay dead, p50 ms",
    "sign_up_p99_ms_relay_dead": "    relay dead, p99 ms",
    "sign_up_relay_dead_ratio": "    p99, relay dead/alive",
    "fairness_issue_s": "1-reader issue during another, s",
    "fairness_notice_s": "confirmation during another, s",
    "sign_up_link_s": "link after sign-up during an issue, s",
    "rate_per_s": "max_rate 14: mails/s at the sink",
    "rate_off_percent": "    off by, %",
    "tarpit_ratio": "tarpit with 20 % of the readers, others' rate",
}


def table(figures: Figures) -> Iterator[str]:
    """Yield the lines of the table, then every other figure, then the remarks."""
    bars = {bar.key: bar for bar in BARS}
    yield f"{'':46} {'median':>10}   {'least … greatest':<21} bar"
    for key, title in TITLES.items():
        bar = bars.get(key)
        value = bar.value(figures) if bar else figures.median(key)
        if value is None:
            continue
        met = {True: "met", False: "NOT MET"}[bool(bar.met(figures))] if bar else ""
        yield f"{title:46} {shown(value):>10}   {_range(figures, key):<21} {bar or ''!s:9} {met}".rstrip()
    rest = [key for key in figures.values if key not in TITLES]
    if rest:
        yield ""
        yield "For each mail, and other figures:"
    for key in rest:
        value = figures.median(key)
        yield f"  {key:44} {shown(value or 0):>10}   {_range(figures, key)}".rstrip()
    if figures.remarks:
        yield ""
        yield from figures.remarks


def shown(value: float) -> str:
    """Return a figure with three significant digits, and whole above 100."""
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{digits}f}"


def _range(figures: Figures, key: str) -> str:
    found = figures.values.get(key, [])
    return f"{shown(min(found))} … {shown(max(found))}" if len(found) > 1 else ""
