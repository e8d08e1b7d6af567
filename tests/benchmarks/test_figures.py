from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import options, report
from benchmarks.figures import BARS, KEYS, Figures
from benchmarks.imports import csv_file
from benchmarks.options import Options
from benchmarks.posts import percentile

# The words of the specification.
WANTED = {
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
}


def made(**values: list[float]) -> Figures:
    figures = Figures()
    for name, found in values.items():
        for value in found:
            figures.add(name, value)
    return figures


def test_the_file_has_every_key_even_of_what_was_not_measured(tmp_path: Path) -> None:
    figures = made(rabbitmq_per_s=[5000.0], rabbitmq_cpu_us_workers=[200.0])
    figures.write(tmp_path / "bench.json")
    found = json.loads((tmp_path / "bench.json").read_text())
    assert set(found) >= WANTED == set(KEYS)
    assert found["rabbitmq_per_s"] == 5000.0
    assert found["limit_per_s"] is None
    assert found["rabbitmq_cpu_us_workers"] == 200.0


def test_a_figure_is_the_median_of_its_rounds() -> None:
    assert made(limit_per_s=[3.0, 100.0, 2.0]).median("limit_per_s") == 3.0
    assert Figures().median("limit_per_s") is None


def test_a_ratio_compares_what_was_measured_in_the_same_round() -> None:
    figures = made(rabbitmq_per_s=[10.0, 40.0, 90.0], limit_per_s=[20.0, 50.0, 100.0])
    assert figures.ratio("rabbitmq_per_s", "limit_per_s") == 0.8


def test_the_table_says_which_bars_are_met() -> None:
    figures = made(rabbitmq_per_s=[900.0], baseline_per_s=[100.0], limit_per_s=[9000.0], fan_out_1m_s=[12.5])
    lines = {line.split("  ")[0]: line for line in map(str.strip, report.table(figures))}
    assert lines["(c)/(b)"].endswith("≥ 8       met")
    assert lines["(c)/(a)"].endswith("NOT MET")
    assert lines["(e) fan-out of 1M while delivering, s"].endswith("NOT MET")
    assert not any("Redis" in line for line in lines)


def test_every_bar_has_its_line_in_the_table() -> None:
    assert {bar.key for bar in BARS} <= set(report.TITLES)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0456, "0.0456"), (0.951, "0.951"), (12.345, "12.3"), (25_512.7, "25,513")]
)
def test_figures_are_shown_with_three_digits(value: float, text: str) -> None:
    assert report.shown(value) == text


def test_everything_is_measured_unless_parts_are_named() -> None:
    assert options.parse([]) == Options()
    assert options.parse(["--only", "c,d, rate"]).parts == {"rabbitmq", "redis", "rate"}
    assert options.parse(["--only", "e,f"]).parts == {"fan_out"}


@pytest.mark.parametrize("arguments", [["--only", "z"], ["--only", ""], ["--readers", "0"], ["--readers", "many"]])
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        options.parse(arguments)
    assert "error: argument" in capsys.readouterr().err


def test_a_percentile_is_a_value_that_so_many_do_not_exceed() -> None:
    assert percentile([float(number) for number in range(101)], 99) == 99.0


@pytest.mark.parametrize("rows", [1, 7, 1000, 4284])
def test_the_file_to_import_has_as_many_different_addresses_as_rows(rows: int) -> None:
    header, *lines = csv_file(rows).decode().splitlines()
    assert header == "email,name"
    assert len({line.split(",")[0] for line in lines}) == len(lines) == rows
